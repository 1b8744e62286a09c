package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/pprof/profile"
)

// A part is something the service carries whose weight is told apart.
type part struct {
	what  string
	files string   // the package whose embedded files are it, in the program
	code  []string // how the functions' names begin by whose calls it is in memory
}

// ours is where this project's packages are.
const ours = "github.com/countersign/countersign/"

var parts = []part{
	{"the phone numbers' metadata", "github.com/nyaruka/phonenumbers", []string{"github.com/nyaruka/phonenumbers."}},
	{"the pages' templates and assets, and those of ops", ours + "handlers", []string{ours + "handlers.readPages", ours + "handlers.readOpsPages"}},
	{"the texts, in all languages", ours + "flow", []string{ours + "flow.init"}},
}

// apart measures what each part takes of the program and of the live heap.
func (c *conductor) apart(ctx context.Context) (err error) {
	// Every allocation is in the profile then, not one in half a MiB.
	s, err := c.startService(ctx, "parts", c.sqlite("parts"), "GODEBUG=memprofilerate=1")
	if err != nil {
		return err
	}
	defer s.stop(&err)
	_, raw, err := get(ctx, "http://"+s.ops+"/debug/pprof/heap?gc=1")
	if err != nil {
		return err
	}
	heap, err := profile.ParseData(raw)
	if err != nil {
		return fmt.Errorf("read the heap's profile: %w", err)
	}
	program, err := os.ReadFile(c.program)
	if err != nil {
		return err
	}
	for _, p := range parts {
		carried, err := embedded(ctx, p.files, program)
		if err != nil {
			return err
		}
		live, err := liveBy(heap, p.code)
		if err != nil {
			return err
		}
		c.fact(p.what+": in the program; in memory at rest", "%.0f KiB; %.0f KiB", float64(carried)/1024, float64(live)/1024)
	}
	return nil
}

// embedded is the size of a package's embedded files that the program has in it,
// in bytes: the linker leaves those out that nobody reads.
func embedded(ctx context.Context, pkg string, program []byte) (int, error) {
	list := exec.CommandContext(ctx, "go", "list", "-f", `{{.Dir}}{{range .EmbedFiles}}{{"\n"}}{{.}}{{end}}`, pkg) //nolint:gosec // our own
	out, err := list.Output()
	if err != nil {
		return 0, fmt.Errorf("list what %s embeds: %w", pkg, err)
	}
	lines := strings.Split(string(bytes.TrimSpace(out)), "\n")
	sum := 0
	for _, name := range lines[1:] {
		file, err := os.ReadFile(filepath.Join(lines[0], name)) //nolint:gosec // a package's own
		if err != nil {
			return 0, err
		}
		if bytes.Contains(program, file) {
			sum += len(file)
		}
	}
	return sum, nil
}

// liveBy is how much of the live heap was allocated by calls of functions whose
// names begin so, in bytes.
func liveBy(heap *profile.Profile, code []string) (int64, error) {
	inUse := -1
	for i, t := range heap.SampleType {
		if t.Type == "inuse_space" {
			inUse = i
		}
	}
	if inUse < 0 {
		return 0, errors.New("the heap's profile does not say what is in use")
	}
	var sum int64
	for _, sample := range heap.Sample {
		if calls(sample, code) {
			sum += sample.Value[inUse]
		}
	}
	return sum, nil
}

func calls(sample *profile.Sample, code []string) bool {
	for _, at := range sample.Location {
		for _, line := range at.Line {
			for _, begins := range code {
				if strings.HasPrefix(line.Function.Name, begins) {
					return true
				}
			}
		}
	}
	return false
}
