package repo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// A cli is countersign, built, to be asked for its own commands and flags.
type cli string

func build(t *testing.T) cli {
	t.Helper()
	program := filepath.Join(t.TempDir(), "countersign")
	command := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/countersign")
	command.Dir = root
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build countersign: %v\n%s", err, out)
	}
	return cli(program)
}

// faults are what is wrong with a command line of countersign's: its name is
// not in args.
func (c cli) faults(ctx context.Context, args []string) []string {
	if len(args) == 0 {
		return []string{"countersign wants a command"}
	}
	help, err := exec.CommandContext(ctx, string(c), args[0], "--help").Output() //nolint:gosec // our own
	if err != nil {
		return []string{fmt.Sprintf("countersign has no command %s", args[0])}
	}
	var faults []string
	for _, arg := range args[1:] {
		name, _, _ := strings.Cut(arg, "=")
		if strings.HasPrefix(arg, "--") && !regexp.MustCompile(`(?m)^ .*`+regexp.QuoteMeta(name)+`(=|,|\s|$)`).Match(help) {
			faults = append(faults, fmt.Sprintf("countersign %s has no %s", args[0], name))
		}
	}
	return faults
}

// strict reads YAML that has nothing but what v has a place for.
func strict(text []byte, v any) error {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(v); err != nil {
		return err
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return errors.New("there is a second document")
	}
	return nil
}

// A compose file, as much of one as we use. A key that is not here is refused.
// See https://docs.docker.com/reference/compose-file/.
type compose struct {
	Name     string                    `yaml:"name"`
	Services map[string]composeService `yaml:"services"`
	Volumes  map[string]struct{}       `yaml:"volumes"`
}

type composeService struct {
	Build           string            `yaml:"build"`
	Image           string            `yaml:"image"`
	Command         []string          `yaml:"command"`
	EnvFile         []string          `yaml:"env_file"`
	Environment     map[string]string `yaml:"environment"`
	Ports           []string          `yaml:"ports"`
	Volumes         []string          `yaml:"volumes"`
	User            string            `yaml:"user"`
	ReadOnly        bool              `yaml:"read_only"`
	Tmpfs           []string          `yaml:"tmpfs"`
	CapDrop         []string          `yaml:"cap_drop"`
	SecurityOpt     []string          `yaml:"security_opt"`
	StopGracePeriod string            `yaml:"stop_grace_period"`
	Restart         string            `yaml:"restart"`
}

// A mount is a file or directory of the repository's, or a volume, as a
// container sees it.
type mount struct{ source, target, mode string }

func mounts(s composeService) []mount {
	var found []mount
	for _, v := range s.Volumes {
		source, rest, _ := strings.Cut(v, ":")
		target, mode, _ := strings.Cut(rest, ":")
		found = append(found, mount{source, target, mode})
	}
	return found
}

func (m mount) ofRepository() bool { return strings.HasPrefix(m.source, ".") }

// stopBound is more than countersign needs to end: it says that it is unready,
// answers what it has accepted, settles the texts under way, and sends the last
// traces.
const stopBound = 40 * time.Second

// composeFaults returns, a sentence each, what is wrong with a compose file, to
// which others are added as docker compose -f does it.
func composeFaults(ctx context.Context, ours cli, settings map[string]bool, texts ...[]byte) []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	all := compose{Services: map[string]composeService{}, Volumes: map[string]struct{}{}}
	for _, text := range texts {
		var c compose
		if err := strict(text, &c); err != nil {
			return []string{err.Error()}
		}
		for name, s := range c.Services {
			all.Services[name] = merged(all.Services[name], s)
		}
		for name := range c.Volumes {
			all.Volumes[name] = struct{}{}
		}
	}

	pinned := regexp.MustCompile(`^[a-z0-9./-]+:v?[0-9]+\.[0-9]+\.[0-9]+$`)
	for name, s := range all.Services {
		if s.Build == "" && !pinned.MatchString(s.Image) {
			fault("%s: image %q is of no one release", name, s.Image)
		}
		for _, p := range s.Ports {
			if !regexp.MustCompile(`^127\.0\.0\.1:([0-9]+):[0-9]+$`).MatchString(p) {
				fault("%s: port %s is not this machine's alone", name, p)
			}
		}
		for _, m := range mounts(s) {
			_, volume := all.Volumes[m.source]
			_, err := fs.Stat(os.DirFS(root), path.Clean(m.source))
			switch {
			case !m.ofRepository() && !volume:
				fault("%s: volume %s is declared nowhere", name, m.source)
			case m.ofRepository() && err != nil:
				fault("%s: %s is not in the repository", name, m.source)
			case m.ofRepository() && m.mode != "ro":
				fault("%s: %s can be written", name, m.source)
			}
		}
	}

	s, ok := all.Services["countersign"]
	if !ok {
		fault("there is no service countersign")
		return faults
	}
	faults = append(faults, ours.faults(ctx, s.Command)...)
	if dockerfile, _ := os.ReadFile(filepath.Join(root, "Dockerfile")); s.User != runAs(dockerfile) {
		fault("countersign: user %q is not the image's, who owns /data", s.User)
	}
	for name := range s.Environment {
		if secret, known := settings[name]; !known {
			fault("%s is no setting of docs/contract.md", name)
		} else if secret && !strings.HasPrefix(s.Environment[name], "file:") {
			fault("%s is a secret: it belongs into .env", name)
		}
	}
	if d, err := time.ParseDuration(s.StopGracePeriod); err != nil || d < stopBound {
		fault("countersign: stop_grace_period %v is less than %v", d, stopBound)
	}
	if slices.Contains(s.Command, "serve") {
		file, _ := strings.CutPrefix(s.Environment["DATABASE_URL"], "file:")
		if !slices.ContainsFunc(mounts(s), func(m mount) bool { return m.target == path.Dir(file) && !m.ofRepository() }) {
			fault("DATABASE_URL %s is on no volume", s.Environment["DATABASE_URL"])
		}
	}
	// Where Prometheus looks is where the metrics are.
	var scraped struct {
		Scrape []struct {
			Static []struct {
				Targets []string `yaml:"targets"`
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	config, _ := os.ReadFile(filepath.Join(root, "deploy", "prometheus.yml"))
	if err := yaml.Unmarshal(config, &scraped); err != nil || len(scraped.Scrape) != 1 {
		fault("deploy/prometheus.yml: not one job: %v", err)
		return faults
	}
	ops := s.Environment["OPS_ADDR"]
	for _, arg := range s.Command {
		if addr, is := strings.CutPrefix(arg, "--ops-addr="); is {
			ops = addr
		}
	}
	if got := scraped.Scrape[0].Static[0].Targets; !reachable(ops) || !slices.Equal(got, []string{"countersign" + ops}) {
		fault("Prometheus looks at %s, the metrics are at %s", got, ops)
	}
	slices.Sort(faults)
	return faults
}

// runAs is whom an image's countersign goes on as; empty if that is root.
func runAs(dockerfile []byte) string {
	found := regexp.MustCompile(`(?m)^ENV RUN_AS=([1-9][0-9]*:[1-9][0-9]*)$`).FindSubmatch(dockerfile)
	if found == nil {
		return ""
	}
	return string(found[1])
}

// The image can be neither built nor run here, so this reads it: a static
// program alone, that does not stay root and owns where its database is.
func TestDockerfile(t *testing.T) {
	text := read(t, "Dockerfile")
	user := runAs(text)
	if user == "" {
		t.Fatal("it runs as root")
	}
	stages := regexp.MustCompile(`(?m)^FROM `).Split(string(text), -1)
	for _, want := range []struct{ stage, line string }{
		{stages[1], "CGO_ENABLED=0 go build "},
		{stages[2], "gcr.io/distroless/static-"},
		{stages[2], "\nCOPY --from=build --chown=" + user + " /data /data\n"},
		{stages[2], "\nWORKDIR /data\n"},
	} {
		if !strings.Contains(want.stage, want.line) {
			t.Errorf("there is no %q where it belongs", want.line)
		}
	}
	if len(stages) != 3 || strings.Contains(stages[2], "\nRUN ") {
		t.Error("the image has more in it than the program, or a shell is wanted")
	}
}

// merged is base with what over says otherwise or besides.
func merged(base, over composeService) composeService {
	if len(over.Command) > 0 {
		base.Command = over.Command
	}
	if base.Environment == nil {
		base.Environment = map[string]string{}
	}
	for name, value := range over.Environment {
		base.Environment[name] = value
	}
	base.Build, base.Image = base.Build+over.Build, base.Image+over.Image
	base.User = cmp.Or(over.User, base.User)
	base.EnvFile = append(base.EnvFile, over.EnvFile...)
	base.Ports = append(base.Ports, over.Ports...)
	base.Volumes = append(base.Volumes, over.Volumes...)
	base.StopGracePeriod += over.StopGracePeriod
	return base
}

func TestCompose(t *testing.T) {
	ours, settings := build(t), contractSettings(t)
	demo, serve := read(t, "compose.yaml"), read(t, "deploy/compose.serve.yaml")
	for _, fault := range slices.Concat(
		composeFaults(t.Context(), ours, settings, demo),
		composeFaults(t.Context(), ours, settings, demo, serve),
	) {
		t.Error(fault)
	}

	// Break them a line at a time; each row also proves that its line is there.
	for _, tt := range []struct {
		name     string
		old, new string
		want     string
	}{
		{"a misspelt key", "read_only:", "readonly:", "field readonly not found"},
		{"an image of no one release", "prom/prometheus:v2.55.1", "prom/prometheus:latest", `prometheus: image "prom/prometheus:latest" is of no one release`},
		{"an image without a tag", "grafana/grafana:12.1.0", "grafana/grafana", `grafana: image "grafana/grafana" is of no one release`},
		{"root, who without capabilities cannot step down", `user: "65532:65532"`, `user: "0:0"`, `countersign: user "0:0" is not the image's`},
		{"a port for the whole world", "127.0.0.1:3000:3000", "3000:3000", "grafana: port 3000:3000 is not this machine's alone"},
		{"a file that is not there", "./deploy/prometheus.yml:", "./deploy/prometheus.yaml:", "prometheus: ./deploy/prometheus.yaml is not in the repository"},
		{"a file that can be written", "/etc/prometheus/prometheus.yml:ro", "/etc/prometheus/prometheus.yml", "prometheus: ./deploy/prometheus.yml can be written"},
		{"a volume of nobody's", "prometheus:/prometheus", "prom:/prometheus", "prometheus: volume prom is declared nowhere"},
		{"a command that is none", "command: [demo,", "command: [dem,", "countersign has no command dem"},
		{"a flag that is none", "--ops-addr=", "--ops=", "countersign demo has no --ops"},
		{"metrics where nobody looks", "--ops-addr=:9091", "--ops-addr=:9092", "Prometheus looks at [countersign:9091], the metrics are at :9092"},
		{"metrics on loopback", "--ops-addr=:9091", "--ops-addr=127.0.0.1:9091", "Prometheus looks at [countersign:9091], the metrics are at 127.0.0.1:9091"},
		{"dying sooner than a text takes", "stop_grace_period: 45s", "stop_grace_period: 10s", "countersign: stop_grace_period 10s is less than 40s"},
		{"a setting nobody reads", "LOG_FORMAT:", "LOGFORMAT:", "LOGFORMAT is no setting of docs/contract.md"},
		{"a secret", "LOG_FORMAT: json", "SECRET_KEY: x", "SECRET_KEY is a secret: it belongs into .env"},
		{"the database off its volume", "data:/data", "data:/srv", "DATABASE_URL file:/data/countersign.db is on no volume"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if n := bytes.Count(demo, []byte(tt.old)) + bytes.Count(serve, []byte(tt.old)); n != 1 {
				t.Fatalf("they have %q %d times, not once", tt.old, n)
			}
			broken := func(text []byte) []byte { return bytes.Replace(text, []byte(tt.old), []byte(tt.new), 1) }
			faults := composeFaults(t.Context(), ours, settings, broken(demo))
			if bytes.Contains(serve, []byte(tt.old)) {
				faults = composeFaults(t.Context(), ours, settings, demo, broken(serve))
			}
			if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, tt.want) }) {
				t.Errorf("faults are %q, want %q among them", faults, tt.want)
			}
		})
	}
}

// TestComposeMounts lays out the files as the containers see them, and reads
// them there.
func TestComposeMounts(t *testing.T) {
	var c compose
	if err := strict(read(t, "compose.yaml"), &c); err != nil {
		t.Fatal(err)
	}
	container := func(service string) string {
		dir := t.TempDir()
		for _, m := range mounts(c.Services[service]) {
			target := filepath.Join(dir, filepath.FromSlash(m.target))
			source, err := filepath.Abs(filepath.Join(root, m.source))
			if err != nil {
				t.Fatal(err)
			}
			if !m.ofRepository() {
				continue
			}
			if err := errors.Join(os.MkdirAll(filepath.Dir(target), 0o700), os.Symlink(source, target)); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}

	t.Run("Prometheus loads its settings and the rules", func(t *testing.T) {
		dir := filepath.Join(container("prometheus"), "etc", "prometheus")
		config := filepath.Join(dir, "prometheus.yml")
		// promtool looks for the rules beside the file that it is given, and
		// follows no link to where that is.
		if err := errors.Join(os.Remove(config), os.WriteFile(config, read(t, "deploy/prometheus.yml"), 0o600)); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "promtool", "check", "config", config).CombinedOutput()
		if err != nil || !regexp.MustCompile(`SUCCESS: [0-9]{2,} rules found`).Match(out) {
			t.Errorf("promtool: %v\n%s", err, out)
		}
	})

	t.Run("Grafana finds the dashboards and the data source", func(t *testing.T) {
		dir := container("grafana")
		var provided struct {
			APIVersion int `yaml:"apiVersion"`
			Providers  []struct {
				Name, Folder, Type string
				DisableDeletion    bool `yaml:"disableDeletion"`
				AllowUIUpdates     bool `yaml:"allowUiUpdates"`
				Options            struct{ Path string }
			}
		}
		text, err := os.ReadFile(filepath.Join(dir, "etc/grafana/provisioning/dashboards/countersign.yaml"))
		if err == nil {
			err = strict(text, &provided)
		}
		if err != nil || len(provided.Providers) != 1 {
			t.Fatalf("one provider of dashboards: %v", err)
		}
		at := provided.Providers[0].Options.Path
		if boards, err := filepath.Glob(filepath.Join(dir, at, "*.json")); err != nil || len(boards) != 3 {
			t.Errorf("at %s are %d dashboards, %v", at, len(boards), err)
		}
		home := c.Services["grafana"].Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
		if _, err := os.Stat(filepath.Join(dir, home)); err != nil || !strings.HasPrefix(home, at+"/") {
			t.Errorf("the dashboard to begin with: %v", err)
		}

		var sources struct {
			APIVersion  int `yaml:"apiVersion"`
			Datasources []struct {
				Name, Type, Access, URL string
				IsDefault               bool              `yaml:"isDefault"`
				Editable                bool              `yaml:"editable"`
				JSONData                map[string]string `yaml:"jsonData"`
			}
		}
		text, err = os.ReadFile(filepath.Join(dir, "etc/grafana/provisioning/datasources/countersign.yaml"))
		if err == nil {
			err = strict(text, &sources)
		}
		if err != nil || len(sources.Datasources) != 1 {
			t.Fatalf("one data source: %v", err)
		}
		s := sources.Datasources[0]
		_, there := c.Services["prometheus"]
		if s.Type != "prometheus" || !s.IsDefault || s.URL != "http://prometheus:9090" || !there {
			t.Errorf("the data source is %+v", s)
		}
	})
}
