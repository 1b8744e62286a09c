package repo

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// unitFaults returns, a sentence each, what is wrong with a systemd unit as far
// as it is ours to know; the rest is systemd's.
func unitFaults(unit []byte, ours cli, settings map[string]bool, t *testing.T) []string {
	t.Helper()
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	is := map[string][]string{}
	for line := range strings.Lines(string(unit)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			is[key] = append(is[key], value)
		}
	}
	only := func(key string) string {
		if len(is[key]) != 1 {
			return ""
		}
		return is[key][0]
	}

	command := strings.Fields(only("ExecStart"))
	if len(command) < 2 || command[0] != "/usr/local/bin/countersign" {
		fault("ExecStart is %q", command)
		return faults
	}
	faults = append(faults, ours.faults(t.Context(), command[1:])...)
	credentials := map[string]bool{}
	for _, c := range is["LoadCredential"] {
		name, _, _ := strings.Cut(c, ":")
		credentials[name] = true
	}
	for _, e := range is["Environment"] {
		name, value, _ := strings.Cut(e, "=")
		setting, ofFile := strings.CutSuffix(name, "_FILE")
		secret, known := settings[setting]
		switch credential, loaded := strings.CutPrefix(value, "%d/"); {
		case !known, ofFile && !secret:
			fault("%s is no setting of docs/contract.md", name)
		case ofFile && (!loaded || !credentials[credential]):
			fault("%s: no credential is at %s", name, value)
		case secret && !ofFile && name != "DATABASE_URL":
			fault("%s is a secret, and units are for everyone to read", name)
		case name == "DATABASE_URL" && !strings.HasPrefix(value, "file:%S/"+only("StateDirectory")+"/"):
			fault("DATABASE_URL %s is not in the state directory", value)
		}
	}
	for _, name := range []string{"SECRET_KEY", "TWILIO_AUTH_TOKEN"} {
		if !slices.ContainsFunc(is["Environment"], func(e string) bool { return strings.HasPrefix(e, name+"_FILE=") }) {
			fault("%s_FILE is not set", name)
		}
	}
	if d, err := time.ParseDuration(only("TimeoutStopSec") + "s"); err != nil || d < stopBound {
		fault("TimeoutStopSec %v is less than %v", d, stopBound)
	}
	if only("KillSignal") != "SIGTERM" {
		fault("KillSignal is %s, not SIGTERM", only("KillSignal"))
	}
	for key, want := range map[string]string{"DynamicUser": "yes", "NoNewPrivileges": "yes", "ProtectSystem": "strict"} {
		if only(key) != want {
			fault("%s is %q, not %s", key, only(key), want)
		}
	}
	slices.Sort(faults)
	return faults
}

func TestUnit(t *testing.T) {
	ours, settings := build(t), contractSettings(t)
	unit := read(t, "deploy/countersign.service")
	for _, fault := range unitFaults(unit, ours, settings, t) {
		t.Error(fault)
	}
	for _, tt := range []struct {
		name     string
		old, new string
		want     string
	}{
		{"a command that is none", "countersign serve\n", "countersign server\n", "countersign has no command server"},
		{"a setting nobody reads", "Environment=OPS_ADDR", "Environment=OPSADDR", "OPSADDR is no setting of docs/contract.md"},
		{"a secret for everyone to read", "SECRET_KEY_FILE=%d/secret_key", "SECRET_KEY=x", "SECRET_KEY is a secret, and units are for everyone to read"},
		{"a credential that is not loaded", "LoadCredential=secret_key:", "LoadCredential=key:", "SECRET_KEY_FILE: no credential is at %d/secret_key"},
		{"a file of what is no secret", "Environment=LISTEN_ADDR=", "Environment=LISTEN_ADDR_FILE=", "LISTEN_ADDR_FILE is no setting of docs/contract.md"},
		{"the database elsewhere", "file:%S/countersign/", "file:/var/", "DATABASE_URL file:/var/countersign.db is not in the state directory"},
		{"dying sooner than a text takes", "TimeoutStopSec=45", "TimeoutStopSec=20", "TimeoutStopSec 20s is less than 40s"},
		{"another signal", "KillSignal=SIGTERM", "KillSignal=SIGKILL", "KillSignal is SIGKILL, not SIGTERM"},
		{"being somebody", "DynamicUser=yes", "DynamicUser=no", `DynamicUser is "no", not yes`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if n := bytes.Count(unit, []byte(tt.old)); n != 1 {
				t.Fatalf("the unit has %q %d times, not once", tt.old, n)
			}
			broken := bytes.Replace(unit, []byte(tt.old), []byte(tt.new), 1)
			if faults := unitFaults(broken, ours, settings, t); !slices.Contains(faults, tt.want) {
				t.Errorf("faults are %q, want %q among them", faults, tt.want)
			}
		})
	}
}

// systemd reads the unit without a complaint, and finds little that is open.
func TestUnitForSystemd(t *testing.T) {
	// The program is not installed here; its place is taken by one that is.
	unit := bytes.Replace(read(t, "deploy/countersign.service"), []byte("/usr/local/bin/countersign"), []byte("/bin/true"), 1)
	file := filepath.Join(t.TempDir(), "countersign.service")
	if err := os.WriteFile(file, unit, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"verify", file},
		{"security", "--offline=yes", "--threshold=15", file}, // in tenths, of 10
	} {
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", args...).CombinedOutput()
		if err != nil || args[0] == "verify" && len(out) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
