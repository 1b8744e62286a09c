package repo

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// flyDocFaults returns, a sentence each, where docs/fly.md does not fit
// fly.toml, the service's settings, or its commands. Fly's own commands are
// not ours to know.
func flyDocFaults(t *testing.T, page []byte, f flyConfig, ours cli, settings map[string]bool) []string {
	t.Helper()
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }

	_, block, _ := strings.Cut(string(page), "```sh\n")
	block, _, _ = strings.Cut(block, "```")
	commands := strings.Split(strings.TrimSpace(block), "\n")
	if len(commands) != 5 {
		fault("%d commands, not five", len(commands))
	}
	set := map[string]bool{}
	for _, command := range commands {
		switch words := strings.Fields(command); strings.Join(words[:min(3, len(words))], " ") {
		case "fly secrets set":
			for _, name := range regexp.MustCompile(`\b([A-Z_]+)=`).FindAllStringSubmatch(command, -1) {
				if _, known := settings[name[1]]; !known {
					fault("%s is no setting of docs/contract.md", name[1])
				}
				set[name[1]] = true
			}
		case "fly volumes create":
			if m := f.Mounts[0]; !slices.Contains(words, m.Source) {
				fault("fly.toml mounts %s, and another volume is made", m.Source)
			}
			if i := slices.Index(words, "--region"); i < 0 || words[i+1] != f.PrimaryRegion {
				fault("fly.toml is for %s, and the volume is made elsewhere", f.PrimaryRegion)
			}
			if i := slices.Index(words, "--size"); i < 0 || words[i+1]+"gb" != f.Mounts[0].InitialSize {
				fault("fly.toml wants %s, and the volume has another size", f.Mounts[0].InitialSize)
			}
		}
	}
	for name, secret := range settings {
		_, given := f.Env[name]
		if required := regexp.MustCompile("(?m)^\\| `" + name + "` \\|[^|]*\\| (?:required|this or the next) \\|"); required.Match(read(t, "docs/contract.md")) && !given && !set[name] {
			fault("%s is required, and set nowhere", name)
		}
		if given && secret && set[name] {
			fault("%s is set twice", name)
		}
	}
	// Ours, wherever they are named; /countersign is what the image has.
	for _, command := range regexp.MustCompile("(?:`|\")/?countersign ([a-z][^`\"]*)").FindAllStringSubmatch(string(page), -1) {
		faults = append(faults, ours.faults(t.Context(), strings.Fields(command[1]))...)
	}
	if !strings.Contains(string(read(t, "Dockerfile")), `ENTRYPOINT ["/countersign"]`) {
		fault("the image has no /countersign")
	}
	for _, name := range regexp.MustCompile("`([A-Z]{2,}(?:_[A-Z]+)+)`").FindAllStringSubmatch(string(page), -1) {
		if _, known := settings[name[1]]; !known && !strings.HasPrefix(name[1], "OTEL_") {
			fault("%s is no setting of docs/contract.md", name[1])
		}
	}
	slices.Sort(faults)
	return faults
}

func TestFlyDoc(t *testing.T) {
	var f flyConfig
	if err := toml.Unmarshal(read(t, "fly.toml"), &f); err != nil {
		t.Fatal(err)
	}
	ours, settings, page := build(t), contractSettings(t), read(t, "docs/fly.md")
	for _, fault := range flyDocFaults(t, page, f, ours, settings) {
		t.Error(fault)
	}
	for _, tt := range []struct {
		name     string
		old, new string
		want     string
	}{
		{"another volume", "create countersign_data", "create data", "fly.toml mounts countersign_data, and another volume is made"},
		{"another region", "--region iad", "--region fra", "fly.toml is for iad, and the volume is made elsewhere"},
		{"another size", "--size 1\n", "--size 3\n", "fly.toml wants 1gb, and the volume has another size"},
		{"a secret nobody reads", " TWILIO_AUTH_TOKEN=…", " TWILIO_TOKEN=…", "TWILIO_TOKEN is no setting of docs/contract.md"},
		{"a secret forgotten", " TWILIO_AUTH_TOKEN=…", "", "TWILIO_AUTH_TOKEN is required, and set nowhere"},
		{"a command that is none", "/countersign doctor", "/countersign nurse", "countersign has no command nurse"},
		{"a flag that is none", "countersign migrate --to", "countersign migrate --into", "countersign migrate has no --into"},
		{"a setting of nobody's", "`REQUESTS_PER_IP`", "`REQUESTS_PER_ADDRESS`", "REQUESTS_PER_ADDRESS is no setting of docs/contract.md"},
		{"six commands", "fly deploy --ha=false\n", "fly deploy --ha=false\nfly status\n", "6 commands, not five"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if n := bytes.Count(page, []byte(tt.old)); n != 1 {
				t.Fatalf("docs/fly.md has %q %d times, not once", tt.old, n)
			}
			broken := bytes.Replace(page, []byte(tt.old), []byte(tt.new), 1)
			if faults := flyDocFaults(t, broken, f, ours, settings); !slices.Contains(faults, tt.want) {
				t.Errorf("faults are %q, want %q among them", faults, tt.want)
			}
		})
	}
}
