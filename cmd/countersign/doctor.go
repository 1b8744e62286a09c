package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/countersign/countersign/internal/twilio"
)

type doctorCommand struct {
	Settings `embed:""`
	JSON     bool `name:"json" help:"Tell it as JSON."`
}

// Run examines what serve would be started with, Twilio's side of it, and the
// service that answers at PUBLIC_URL. It texts nothing and changes nothing, but
// for one receipt of a text that never was; see [doctor.webhooks]. It fails if
// there is a problem.
func (c doctorCommand) Run(ctx context.Context, w world) error {
	settings, err := c.Check(w.getenv, w.readFile)
	d := doctor{checked: settings, refused: err, now: clock, free: freeSpace}
	findings := d.examine(ctx)

	if c.JSON {
		err = writeFindings(w.out, findings)
	} else {
		_, err = io.WriteString(w.out, printed(findings))
	}
	if err != nil {
		return fmt.Errorf("tell what was found: %w", err)
	}
	if n := count(findings, isProblem); n > 0 {
		return fmt.Errorf("found %s", counted(n, "problem"))
	}
	return nil
}

// A doctor looks at one set of settings. What a check learns that others
// build on is kept here.
type doctor struct {
	checked
	refused error // by [Settings.Check]; then only some of checked can be used
	now     func() time.Time
	free    func(dir string) (bytes uint64, err error)

	account    twilio.Account // zero if Twilio did not tell
	clockOff   time.Duration  // ours is ahead of Twilio's by that, give or take a second
	noAnswer   bool           // nothing answers at PUBLIC_URL
	pinSegment int            // segments of the longest text with a PIN; 0 if unknown
}

// lookWithin bounds each look at something outside.
const lookWithin = 10 * time.Second

// examine makes every check that can be made. No finding holds a secret, or a
// customer's number.
func (d *doctor) examine(ctx context.Context) []finding {
	var all []finding
	for _, check := range []struct {
		name string
		look func(context.Context) []finding
	}{
		{"settings", d.settings},
		{"database", d.database},
		{"account", d.lookAtAccount},
		{"API key", d.lookAtAPIKey},
		{"sender", d.lookAtSender},
		{"clock", d.lookAtClock},
		{"public URL", d.ready},
		{"webhooks", d.webhooks},
		{"texts", d.lookAtTexts},
		{"guessing", d.guessing},
		{"spending", d.spending},
	} {
		for _, f := range check.look(ctx) {
			f.Check, f.Seen, f.Do = check.name, d.hush(f.Seen), d.hush(f.Do)
			all = append(all, f)
		}
	}
	return all
}

// hush takes secrets out of what is about to be told. None is put there: but
// findings quote errors, and answers from outside.
func (d *doctor) hush(told string) string {
	secrets := append(slices.Clone(d.authTokens), d.TwilioAPISecret, d.OpsToken)
	for _, key := range d.secretKeys {
		secrets = append(secrets, string(key))
	}
	if u, err := url.Parse(d.DatabaseURL); err == nil {
		password, _ := u.User.Password()
		secrets = append(secrets, password)
	}
	for _, secret := range secrets {
		if len(secret) >= shortestSecret {
			told = strings.ReplaceAll(told, secret, "[secret]")
		}
	}
	return told
}

// shortestSecret is the fewest characters that hush looks for: what is shorter
// is a typing error, and may be a part of any word.
const shortestSecret = 6

// settings tells everything that serve would refuse.
func (d *doctor) settings(context.Context) []finding {
	if d.refused != nil {
		var found []finding
		for _, why := range parts(d.refused) {
			found = append(found, problem(because(why), "set it; countersign serve --help says what for"))
		}
		return found
	}
	if _, err := twilio.New(d.twilioConfig()); err != nil {
		return []finding{problem(err.Error(), "set the TWILIO_… settings right")}
	}
	return []finding{fine("all there, and in order")}
}

// A verdict sorts findings by what they ask of the reader.
type verdict string

// The verdicts.
const (
	isFine    verdict = "ok"
	isWarning verdict = "warning" // it works, and could be better or was not looked at
	isProblem verdict = "problem" // customers would notice
)

// A finding is what one look has shown.
type finding struct {
	Check   string     `json:"check"`
	Verdict verdict    `json:"verdict"`
	Seen    string     `json:"seen"`
	Do      string     `json:"do,omitempty"` // empty if nothing need be done
	Texts   []textSize `json:"texts,omitempty"`
}

func fine(seen string) finding        { return finding{Verdict: isFine, Seen: seen} }
func warning(seen, do string) finding { return finding{Verdict: isWarning, Seen: seen, Do: do} }
func problem(seen, do string) finding { return finding{Verdict: isProblem, Seen: seen, Do: do} }

// unseen is a look that could not be taken, for a reason that another finding
// tells more of.
func unseen(why string) []finding {
	return []finding{warning("not checked: "+why, "put that right, then ask again")}
}

func count(all []finding, v verdict) int {
	return len(slices.DeleteFunc(slices.Clone(all), func(f finding) bool { return f.Verdict != v }))
}

// counted is a number of things, in words.
func counted(n int, thing string) string {
	switch n {
	case 0:
		return "no " + thing
	case 1:
		return "1 " + thing
	default:
		return fmt.Sprintf("%d %ss", n, thing)
	}
}

func writeFindings(w io.Writer, all []finding) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Findings []finding `json:"findings"`
	}{all})
}

// Columns of what is printed, in characters.
const (
	verdictWidth = 9
	checkWidth   = 12
	seenWidth    = 78
)

// printed are the findings for people: a verdict, what was looked at and what
// was seen; below it, what to do.
func printed(all []finding) string {
	var b strings.Builder
	margin := strings.Repeat(" ", verdictWidth+checkWidth)
	for _, f := range all {
		head := fmt.Sprintf("%-*s%-*s", verdictWidth, f.Verdict, checkWidth, f.Check)
		for line := range wrapped(f.Seen, seenWidth) {
			b.WriteString(head + line + "\n")
			head = margin
		}
		arrow := "→ "
		for line := range wrapped(f.Do, seenWidth-utf8.RuneCountInString(arrow)) {
			b.WriteString(margin + arrow + line + "\n")
			arrow = "  "
		}
		for line := range strings.Lines(table(f.Texts)) {
			b.WriteString(margin + line)
		}
	}
	fmt.Fprintf(&b, "\n%s, %s.\n", counted(count(all, isProblem), "problem"), counted(count(all, isWarning), "warning"))
	return b.String()
}

// wrapped cuts text into lines of at most width characters, or of one word.
func wrapped(text string, width int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		line := ""
		for _, word := range strings.Fields(text) {
			switch {
			case line == "":
				line = word
			case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
				line += " " + word
			default:
				if !yield(line) {
					return
				}
				line = word
			}
		}
		if line != "" {
			yield(line)
		}
	}
}

// table shows how long texts are.
func table(texts []textSize) string {
	if len(texts) == 0 {
		return ""
	}
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "text\tsegments\tencoding\tcharacters") // into memory
	for _, t := range texts {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%s\t%d\n", t.Text, t.Segments, t.Encoding, t.Characters)
	}
	_ = w.Flush()
	return b.String()
}

// parts are the errors that errors.Join has joined.
func parts(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// because is err on one line.
func because(err error) string {
	return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
}

var errNoURL = errors.New("PUBLIC_URL is not set right")
