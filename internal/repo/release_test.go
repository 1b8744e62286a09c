package repo

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A release is as much of goreleaser's configuration as we use; a key that is
// not here is refused. See https://goreleaser.com/customization/.
type release struct {
	Version     int    `yaml:"version"`
	ProjectName string `yaml:"project_name"`
	Builds      []struct {
		ID           string   `yaml:"id"`
		Main         string   `yaml:"main"`
		Binary       string   `yaml:"binary"`
		Env          []string `yaml:"env"`
		Goos         []string `yaml:"goos"`
		Goarch       []string `yaml:"goarch"`
		Flags        []string `yaml:"flags"`
		Ldflags      []string `yaml:"ldflags"`
		ModTimestamp string   `yaml:"mod_timestamp"`
	} `yaml:"builds"`
	Archives []struct {
		Formats []string `yaml:"formats"`
		Files   []string `yaml:"files"`
	} `yaml:"archives"`
	Checksum struct {
		NameTemplate string `yaml:"name_template"`
		Algorithm    string `yaml:"algorithm"`
	} `yaml:"checksum"`
	Changelog struct {
		Disable bool `yaml:"disable"`
	} `yaml:"changelog"`
	Release struct {
		Draft      bool   `yaml:"draft"`
		Prerelease string `yaml:"prerelease"`
	} `yaml:"release"`
}

// releaseFaults returns, a sentence each, what is wrong with .goreleaser.yaml.
func releaseFaults(t *testing.T, config []byte) []string {
	t.Helper()
	var r release
	if err := strict(config, &r); err != nil {
		return []string{err.Error()}
	}
	var faults, built []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, b := range r.Builds {
		built = append(built, b.Main)
		sources, _ := filepath.Glob(filepath.Join(root, b.Main, "*.go"))
		if len(sources) == 0 {
			fault("%s: no program is at %s", b.ID, b.Main)
		}
		for _, x := range regexp.MustCompile(`-X main\.(\w+)=`).FindAllStringSubmatch(strings.Join(b.Ldflags, " "), -1) {
			set := regexp.MustCompile(`(?m)^var ` + x[1] + ` string$`)
			if !slices.ContainsFunc(sources, func(f string) bool { return set.Match(read(t, strings.TrimPrefix(f, root+"/"))) }) {
				fault("%s: nothing reads main.%s", b.ID, x[1])
			}
		}
		if !slices.Contains(b.Env, "CGO_ENABLED=0") {
			fault("%s is not static", b.ID)
		}
		if !slices.Contains(b.Flags, "-trimpath") {
			fault("%s tells where it was built", b.ID)
		}
		if diff := cmp.Diff([][]string{{"linux", "darwin"}, {"amd64", "arm64"}}, [][]string{b.Goos, b.Goarch}); diff != "" {
			fault("%s is for other systems: %s", b.ID, diff)
		}
	}
	if diff := cmp.Diff([]string{"./cmd/countersign", "./cmd/phonebooth"}, built); diff != "" {
		fault("other programs are built: %s", diff)
	}
	for _, a := range r.Archives {
		for _, f := range a.Files {
			if found, _ := filepath.Glob(filepath.Join(root, f)); len(found) == 0 {
				fault("%s is not in the repository", f)
			}
		}
	}
	if r.Version != 2 || r.Checksum.NameTemplate == "" || len(r.Archives) != 1 || !r.Release.Draft {
		fault("version 2, one archive, checksums and a draft are wanted")
	}
	return faults
}

func TestRelease(t *testing.T) {
	config := read(t, ".goreleaser.yaml")
	for _, fault := range releaseFaults(t, config) {
		t.Error(fault)
	}
	for _, tt := range []struct {
		name     string
		old, new string
		want     string
	}{
		{"a misspelt key", "ldflags: [\"-s -w -X", "ldflag: [\"-s -w -X", "field ldflag not found"},
		{"a program that is not there", "./cmd/phonebooth", "./cmd/booth", "phonebooth: no program is at ./cmd/booth"},
		{"a version that nobody reads", "main.version", "main.Version", "countersign: nothing reads main.Version"},
		{"being linked to a C library", "CGO_ENABLED=0", "CGO_ENABLED=1", "countersign is not static"},
		{"paths of who built it", "[-trimpath]", "[-v]", "countersign tells where it was built"},
		{"a file that is not there", "docs/runbook.md", "docs/run.md", "docs/run.md is not in the repository"},
		{"no checksums", "name_template: SHA256SUMS", "name_template: ''", "version 2, one archive, checksums and a draft are wanted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if n := bytes.Count(config, []byte(tt.old)); n != 1 {
				t.Fatalf(".goreleaser.yaml has %q %d times, not once", tt.old, n)
			}
			broken := bytes.Replace(config, []byte(tt.old), []byte(tt.new), 1)
			faults := releaseFaults(t, broken)
			if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, tt.want) }) {
				t.Errorf("faults are %q, want %q among them", faults, tt.want)
			}
		})
	}
}
