package alerts

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// promtool, of the release that Debian ships: others extrapolate differently.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput()
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestRules(t *testing.T) {
	for _, args := range [][]string{
		{"check", "rules", "--lint-fatal", "rules.yaml"},
		{"test", "rules", "tests.yaml"},
		{"test", "rules", "tests_slow.yaml"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			promtool(t, args...)
		})
	}
}

// An alert as it stands in rules.yaml.
type alert struct{ name, severity, text string }

// alerts reads rules.yaml as text, with YAML's aliases filled in: a parser
// would be a dependency, and promtool has found it well-formed.
func alerts(t *testing.T) []alert {
	t.Helper()
	var found []alert
	anchors := make(map[string]string)
	for _, text := range regexp.MustCompile(`(?m)^      - (?:alert|record): `).Split(read(t, "rules.yaml"), -1)[1:] {
		name, _, _ := strings.Cut(text, "\n")
		severity := regexp.MustCompile(`labels: \{severity: (\w+)\}`).FindStringSubmatch(text)
		if strings.Contains(name, ":") {
			continue // a record's name
		}
		if severity == nil {
			t.Fatalf("%s has no severity", name)
		}
		if m := regexp.MustCompile(`annotations: &(\w+)\n`).FindStringSubmatch(text); m != nil {
			anchors[m[1]] = text
		}
		if m := regexp.MustCompile(`annotations: \*(\w+)`).FindStringSubmatch(text); m != nil {
			text += anchors[m[1]]
		}
		found = append(found, alert{name, severity[1], text})
	}
	if len(found) == 0 {
		t.Fatal("rules.yaml has no alerts")
	}
	return found
}

// Whoever is woken is told what to do.
func TestEveryAlertHasItsRunbook(t *testing.T) {
	const url = "runbook_url: https://github.com/countersign/countersign/blob/main/docs/runbook.md#"
	sections := make(map[string]string)
	for _, s := range strings.Split(read(t, "../../docs/runbook.md"), "\n## ")[1:] {
		name, body, _ := strings.Cut(s, "\n")
		sections[name] = body
	}
	told := make(map[string]bool)
	for _, a := range alerts(t) {
		told[a.name] = true
		if a.severity != "page" && a.severity != "ticket" {
			t.Errorf("%s is neither a page nor a ticket but %q", a.name, a.severity)
		}
		for _, want := range []string{"summary: ", "description: ", url + strings.ToLower(a.name) + "\n"} {
			if !strings.Contains(a.text, want) {
				t.Errorf("%s (%s) has no %q", a.name, a.severity, want)
			}
		}
		for _, part := range []string{"**Means**", "**First look**", "**Usually**", "**Fix**"} {
			if !strings.Contains(sections[a.name], part) {
				t.Errorf("the runbook's section %s has no %s", a.name, part)
			}
		}
	}
	for name, body := range sections {
		if !told[name] {
			t.Errorf("the runbook's section %s is of no alert", name)
		}
		for _, link := range regexp.MustCompile(`\(#(\w+)\)`).FindAllStringSubmatch(body, -1) {
			if !slices.ContainsFunc(alerts(t), func(a alert) bool { return strings.ToLower(a.name) == link[1] }) {
				t.Errorf("the runbook's section %s sends one on to %s, which is none", name, link[1])
			}
		}
	}
}

// Each fires when it should, at each severity, and keeps quiet when it should.
// That they do is promtool's to say.
func TestEveryAlertIsTried(t *testing.T) {
	tests := strings.Split(read(t, "tests.yaml")+read(t, "tests_slow.yaml"), "\n  - name: ")[1:]
	for _, a := range alerts(t) {
		fires, quiet := false, false
		for _, test := range tests {
			switch {
			case strings.HasPrefix(test, a.name+" fires "):
				fires = fires || strings.Contains(test, `severity="`+a.severity+`"`) && !strings.Contains(test, "exp_samples: []")
			case strings.HasPrefix(test, a.name+" keeps quiet "):
				quiet = quiet || strings.Contains(test, "exp_samples: []")
			}
		}
		if !fires || !quiet {
			t.Errorf("%s (%s): a test has it fire: %t, one has it keep quiet: %t", a.name, a.severity, fires, quiet)
		}
	}
}

// A rule of a metric that was renamed would keep quiet for ever.
func TestRulesAskForWhatThereIs(t *testing.T) {
	page := read(t, "../../docs/metrics.md")
	series := regexp.MustCompile(`countersign_[a-z_]+(\{[^}]*\})?`)
	for _, asked := range series.FindAllString(read(t, "rules.yaml"), -1) {
		name, matchers, _ := strings.Cut(strings.TrimSuffix(asked, "}"), "{")
		name = regexp.MustCompile(`_seconds_(bucket|count|sum)$`).ReplaceAllString(name, "_seconds")
		if !strings.Contains(page, "| `"+name+"` |") {
			t.Errorf("rules.yaml asks for %s, which there is not", name)
			continue
		}
		_, section, _ := strings.Cut(page, "### "+name+"\n")
		section, _, _ = strings.Cut(section, "\n### ")
		for _, m := range regexp.MustCompile(`(\w+)[!=~]+"([^"]*)"`).FindAllStringSubmatch(matchers, -1) {
			if m[1] == "le" || m[1] == "route" || m[1] == "code" {
				continue // not lists
			}
			for value := range strings.SplitSeq(m[2], "|") {
				if !regexp.MustCompile("(?m)^- `" + m[1] + "`: .*`" + value + "`").MatchString(section) {
					t.Errorf("rules.yaml asks for %s where %s is %q, which it never is", name, m[1], value)
				}
			}
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
