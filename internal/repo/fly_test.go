package repo

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
)

// root is where this package's tests find the repository.
const root = "../.."

// A flyConfig is as much of Fly's configuration as we use. A key that is not
// here is refused, since flyctl passes over a misspelt one in silence.
// See https://fly.io/docs/reference/configuration/.
type flyConfig struct {
	App           string `toml:"app"`
	PrimaryRegion string `toml:"primary_region"`
	KillSignal    string `toml:"kill_signal"`
	KillTimeout   string `toml:"kill_timeout"`
	Build         struct {
		Dockerfile string `toml:"dockerfile"`
	} `toml:"build"`
	Deploy struct {
		Strategy       string `toml:"strategy"`
		ReleaseCommand string `toml:"release_command"`
	} `toml:"deploy"`
	Env         map[string]string `toml:"env"`
	HTTPService struct {
		InternalPort       int    `toml:"internal_port"`
		ForceHTTPS         bool   `toml:"force_https"`
		AutoStopMachines   string `toml:"auto_stop_machines"`
		AutoStartMachines  bool   `toml:"auto_start_machines"`
		MinMachinesRunning int    `toml:"min_machines_running"`
		Concurrency        struct {
			Type      string `toml:"type"`
			SoftLimit int    `toml:"soft_limit"`
			HardLimit int    `toml:"hard_limit"`
		} `toml:"concurrency"`
		Checks []struct {
			Method      string `toml:"method"`
			Path        string `toml:"path"`
			Interval    string `toml:"interval"`
			Timeout     string `toml:"timeout"`
			GracePeriod string `toml:"grace_period"`
		} `toml:"checks"`
	} `toml:"http_service"`
	Metrics []struct {
		Port int    `toml:"port"`
		Path string `toml:"path"`
	} `toml:"metrics"`
	Mounts []struct {
		Source                  string `toml:"source"`
		Destination             string `toml:"destination"`
		InitialSize             string `toml:"initial_size"`
		SnapshotRetention       int    `toml:"snapshot_retention"`
		AutoExtendSizeThreshold int    `toml:"auto_extend_size_threshold"`
		AutoExtendSizeIncrement string `toml:"auto_extend_size_increment"`
		AutoExtendSizeLimit     string `toml:"auto_extend_size_limit"`
	} `toml:"mounts"`
	VM []struct {
		Size   string `toml:"size"`
		Memory string `toml:"memory"`
	} `toml:"vm"`
}

func TestFly(t *testing.T) {
	for _, fault := range flyFaults(read(t, "fly.toml"), contractSettings(t)) {
		t.Error(fault)
	}
}

// TestFlyFaults breaks the real fly.toml a line at a time. Each row also
// proves that the line it breaks is there.
func TestFlyFaults(t *testing.T) {
	toml, known := read(t, "fly.toml"), contractSettings(t)
	for _, tt := range []struct {
		name     string
		old, new string
		want     string
	}{
		{"a misspelt key", "kill_timeout =", "kil_timeout =", "kil_timeout is no key of Fly's that we know"},
		{"a misspelt key in a table", "internal_port =", "port =", "http_service.port is no key of Fly's that we know"},
		{"a port nobody listens on", "internal_port = 8080", "internal_port = 8000", "http_service.internal_port is 8000, LISTEN_ADDR is :8080"},
		{"metrics on the public port", "port = 9091", "port = 8080", "metrics: port is 8080, OPS_ADDR is :9091"},
		{"metrics elsewhere", `path = "/metrics"`, `path = "/"`, `metrics: path is "/", not /metrics`},
		{"ops on loopback", `OPS_ADDR = ":9091"`, `OPS_ADDR = "127.0.0.1:9091"`, "OPS_ADDR 127.0.0.1:9091 cannot be reached from outside the machine"},
		{"a public address on loopback", `LISTEN_ADDR = ":8080"`, `LISTEN_ADDR = "localhost:8080"`, "LISTEN_ADDR localhost:8080 cannot be reached from outside the machine"},
		{"the database off the volume", "file:/data/", "file:/var/", "DATABASE_URL file:/var/countersign.db is not on the volume at /data"},
		{"the database where the program starts", "file:/data/", "file:", "DATABASE_URL file:countersign.db is not on the volume at /data"},
		{"the database beside the volume", "file:/data/", "file:/data/../", "DATABASE_URL file:/data/../countersign.db is not on the volume at /data"},
		{"a password in the file", "file:/data/countersign.db", "postgres://u:p@db/c", "DATABASE_URL is not a file: one with a password is a secret"},
		{"bluegreen with a volume", `"rolling"`, `"bluegreen"`, "deploy.strategy bluegreen cannot be had with a volume"},
		{"canary with a volume", `"rolling"`, `"canary"`, "deploy.strategy canary cannot be had with a volume"},
		{"a release command with a volume", "[deploy]", "[deploy]\nrelease_command = 'migrate'", "deploy.release_command never sees the volume"},
		{"two machines of one volume", "min_machines_running = 1", "min_machines_running = 2", "http_service.min_machines_running is 2; one machine has the volume"},
		{"stopping when nobody asks", `auto_stop_machines = "off"`, `auto_stop_machines = "stop"`, "http_service.auto_stop_machines is stop: a stopped machine texts nobody"},
		{"plain http", "force_https = true", "force_https = false", "http_service.force_https is off"},
		{"counting connections", `type = "requests"`, `type = "connections"`, "http_service.concurrency.type is connections, not requests"},
		{"a soft limit over the hard one", "soft_limit = 800", "soft_limit = 8000", "http_service.concurrency: soft_limit 8000 is not below hard_limit 1000"},
		{"a health check on another route", `path = "/readyz"`, `path = "/"`, "http_service.checks must GET /readyz alone"},
		{"dying sooner than a text takes", `"45s"` + "\n\n[build]", `"30s"` + "\n\n[build]", "kill_timeout 30s is not between 40s and 5m0s"},
		{"a kill timeout beyond Fly's", `"45s"` + "\n\n[build]", `"600s"` + "\n\n[build]", "kill_timeout 10m0s is not between 40s and 5m0s"},
		{"a signal we do not take for an orderly end", `"SIGTERM"`, `"SIGQUIT"`, "kill_signal is SIGQUIT, not SIGTERM"},
		{"Fly's own prefix", "[env]\n", "[env]\nFLY_REGION = 'iad'\n", "FLY_REGION: the prefix is Fly's own"},
		{"a secret", "[env]\n", "[env]\nSECRET_KEY = 'x'\n", "SECRET_KEY is a secret: fly secrets set SECRET_KEY"},
		{"a setting nobody reads", "SHOP_NAME", "SHOPNAME", "SHOPNAME is no setting of docs/contract.md"},
		{"a visitor's word for who they are", `"Fly-Client-IP"`, `"X-Forwarded-For"`, "CLIENT_IP_HEADER is X-Forwarded-For, not Fly-Client-IP"},
		{"a public address without TLS", "https://countersign.fly.dev", "http://countersign.fly.dev", "PUBLIC_URL http://countersign.fly.dev is not https"},
		{"half of the auto-extension", "auto_extend_size_limit = \"10GB\"\n", "", "mounts: auto_extend_size_* go all three together"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if n := bytes.Count(toml, []byte(tt.old)); n != 1 {
				t.Fatalf("fly.toml has %q %d times, not once", tt.old, n)
			}
			broken := bytes.Replace(toml, []byte(tt.old), []byte(tt.new), 1)
			if faults := flyFaults(broken, known); !slices.Contains(faults, tt.want) {
				t.Errorf("%q for %q: faults are %q, want %q among them", tt.new, tt.old, faults, tt.want)
			}
		})
	}
}

// flyFaults returns, a sentence each, what is wrong with a fly.toml for one
// machine with SQLite on a volume. Settings are those of the service, true for
// each that is a secret.
func flyFaults(config []byte, settings map[string]bool) []string {
	var f flyConfig
	var unknown *toml.StrictMissingError
	if err := toml.NewDecoder(bytes.NewReader(config)).DisallowUnknownFields().Decode(&f); errors.As(err, &unknown) {
		var faults []string
		for _, e := range unknown.Errors {
			faults = append(faults, strings.Join(e.Key(), ".")+" is no key of Fly's that we know")
		}
		return faults
	} else if err != nil {
		return []string{err.Error()}
	}

	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }

	for name := range f.Env {
		secret, known := settings[name]
		switch {
		case strings.HasPrefix(name, "FLY_"):
			fault("%s: the prefix is Fly's own", name)
		case !known:
			fault("%s is no setting of docs/contract.md", name)
		case secret && name != "DATABASE_URL":
			fault("%s is a secret: fly secrets set %s", name, name)
		}
	}
	if public, err := url.Parse(f.Env["PUBLIC_URL"]); err != nil || public.Scheme != "https" || public.Host == "" {
		fault("PUBLIC_URL %s is not https", f.Env["PUBLIC_URL"])
	}
	if header := f.Env["CLIENT_IP_HEADER"]; header != "Fly-Client-IP" {
		fault("CLIENT_IP_HEADER is %s, not Fly-Client-IP", header)
	}

	for _, name := range []string{"LISTEN_ADDR", "OPS_ADDR"} {
		if !reachable(f.Env[name]) {
			fault("%s %s cannot be reached from outside the machine", name, f.Env[name])
		}
	}
	if f.HTTPService.InternalPort != port(f.Env["LISTEN_ADDR"]) {
		fault("http_service.internal_port is %d, LISTEN_ADDR is %s", f.HTTPService.InternalPort, f.Env["LISTEN_ADDR"])
	}
	if len(f.Metrics) != 1 {
		fault("metrics: %d tables, not one", len(f.Metrics))
	}
	for _, m := range f.Metrics {
		if m.Port != port(f.Env["OPS_ADDR"]) {
			fault("metrics: port is %d, OPS_ADDR is %s", m.Port, f.Env["OPS_ADDR"])
		}
		if m.Path != "/metrics" {
			fault("metrics: path is %q, not /metrics", m.Path)
		}
	}

	if len(f.Mounts) != 1 {
		fault("mounts: %d volumes, not one", len(f.Mounts))
	}
	for _, m := range f.Mounts {
		if file, ok := strings.CutPrefix(f.Env["DATABASE_URL"], "file:"); !ok {
			fault("DATABASE_URL is not a file: one with a password is a secret")
		} else if path.Dir(path.Clean(file)) != m.Destination {
			fault("DATABASE_URL %s is not on the volume at %s", f.Env["DATABASE_URL"], m.Destination)
		}
		if slices.Contains([]bool{m.AutoExtendSizeThreshold == 0, m.AutoExtendSizeIncrement == ""}, m.AutoExtendSizeLimit != "") {
			fault("mounts: auto_extend_size_* go all three together")
		}
	}
	if s := f.Deploy.Strategy; s != "rolling" && s != "immediate" {
		fault("deploy.strategy %s cannot be had with a volume", s)
	}
	if f.Deploy.ReleaseCommand != "" {
		fault("deploy.release_command never sees the volume")
	}
	if n := f.HTTPService.MinMachinesRunning; n != 1 {
		fault("http_service.min_machines_running is %d; one machine has the volume", n)
	}

	if s := f.HTTPService.AutoStopMachines; s != "off" {
		fault("http_service.auto_stop_machines is %s: a stopped machine texts nobody", s)
	}
	if !f.HTTPService.ForceHTTPS {
		fault("http_service.force_https is off")
	}
	if c := f.HTTPService.Concurrency; c.Type != "requests" {
		fault("http_service.concurrency.type is %s, not requests", c.Type)
	} else if c.SoftLimit >= c.HardLimit {
		fault("http_service.concurrency: soft_limit %d is not below hard_limit %d", c.SoftLimit, c.HardLimit)
	}
	if c := f.HTTPService.Checks; len(c) != 1 || c[0].Method != "GET" || c[0].Path != "/readyz" {
		fault("http_service.checks must GET /readyz alone")
	}
	// Fly waits 5m at most.
	if d, err := time.ParseDuration(f.KillTimeout); err != nil || d < stopBound || d > 5*time.Minute {
		fault("kill_timeout %v is not between %v and 5m0s", d, stopBound)
	}
	if f.KillSignal != "SIGTERM" {
		fault("kill_signal is %s, not SIGTERM", f.KillSignal)
	}
	slices.Sort(faults)
	return faults
}

func TestContractSettings(t *testing.T) {
	got := contractSettings(t)
	want := map[string]bool{"PUBLIC_URL": false, "SECRET_KEY": true, "TWILIO_AUTH_TOKEN": true, "OPS_TOKEN": true, "LOG_LEVEL": false}
	for name := range got {
		if _, ok := want[name]; !ok {
			delete(got, name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings read from docs/contract.md (-want +got):\n%s", diff)
	}
}

// contractSettings reads the settings from their table in docs/contract.md,
// true for each that is a secret and so can be given as NAME_FILE as well.
func contractSettings(t *testing.T) map[string]bool {
	t.Helper()
	_, section, ok := strings.Cut(string(read(t, "docs/contract.md")), "\n## Settings\n")
	if !ok {
		t.Fatal("docs/contract.md has no section Settings")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	settings := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` .*$").FindAllStringSubmatch(section, -1) {
		settings[row[1]] = strings.Contains(row[0], "`"+row[1]+"_FILE`")
	}
	return settings
}

// reachable reports whether addr, as a listen address, is more than loopback.
func reachable(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil || host == "localhost" {
		return false
	}
	ip := net.ParseIP(host)
	return host == "" || ip != nil && !ip.IsLoopback()
}

// port returns the port of a listen address, or 0 if it has none.
func port(addr string) int {
	_, p, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(p)
	return n
}

// read returns a file of the repository.
func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
