//go:build race

package watch

// The programs are built as the test is: under the detector it looks at them
// at work, too.
func init() { buildFlags = append(buildFlags, "-race") }
