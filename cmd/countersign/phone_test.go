package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// A booth is the phone booth, as a script sees it.
type booth struct {
	*process
	url string
}

// A text is one that the booth shows.
type text struct {
	Sid, From, To, Body, Status, Direction string
}

// outbound reports whether it is one to a telephone.
func (t text) outbound() bool { return t.Direction != "inbound" }

// lost reports whether it never got to its telephone.
func (t text) lost() bool {
	return t.Status == "failed" || t.Status == "undelivered" || t.Status == "canceled"
}

// call calls the booth's control, and reads its answer into out.
func (b *booth) call(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, b.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("the booth answers %s: %s", resp.Status, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// texts are all texts to and from a number, or all of the booth's for "".
func (b *booth) texts(ctx context.Context, number string) ([]text, error) {
	var all []text
	err := b.call(ctx, "GET", "/booth/messages?to="+url.QueryEscape(number), nil, &all)
	return all, err
}

// A picture is what a text without words has.
var picture = []map[string]string{{"url": "https://example.com/cat.jpg", "content_type": "image/jpeg"}}

// A said is what is asked of the booth for a handset to text us.
type said struct {
	Body  string `json:"body"`
	Sid   string `json:"sid,omitempty"`
	Media any    `json:"media,omitempty"`
}

// say has the handset text us, and returns what the service answered Twilio.
func (b *booth) say(ctx context.Context, handset string, t said) (answer, string, error) {
	var came struct {
		Sid           string `json:"sid"`
		WebhookStatus int    `json:"webhook_status"`
		TwiML         string
		Forwarded     bool
	}
	err := b.call(ctx, "POST", "/booth/phones/"+url.PathEscape(handset)+"/texts", t, &came)
	if err != nil {
		return answer{}, "", err
	}
	if !came.Forwarded {
		return answer{status: http.StatusOK, text: "kept by Twilio\n"}, came.Sid, nil
	}
	return answer{status: came.WebhookStatus, text: came.TwiML + "\n"}, came.Sid, nil
}

// What a placeholder in a text stands for, by how its name begins.
var values = map[string]string{
	"pin": `[0-9]{4,8}`,
	"ref": `[A-Z]{3}[0-9]{3}`,
}

var placeholder = regexp.MustCompile(`\{(pin|ref)([A-Za-z0-9]*)\}`)

// A memory holds what texts have brought, by placeholder.
type memory map[string]string

// pattern is a text as a script has it, in which … stands for anything: a
// placeholder that is known must be what it was; another is learnt.
func (m memory) pattern(script string) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString("^")
	literal := func(s string) {
		for i, part := range strings.Split(s, "…") {
			if i > 0 {
				b.WriteString(".*")
			}
			b.WriteString(regexp.QuoteMeta(part))
		}
	}
	rest, named := script, map[string]bool{}
	for _, at := range placeholder.FindAllStringSubmatchIndex(script, -1) {
		kind, name := script[at[2]:at[3]], script[at[2]:at[5]]
		literal(script[len(script)-len(rest) : at[0]])
		rest = script[at[1]:]
		switch known, ok := m[name]; {
		case ok:
			b.WriteString(regexp.QuoteMeta(known))
		case named[name]:
			return nil, fmt.Errorf("{%s} comes twice before it is known", name)
		default:
			named[name] = true
			fmt.Fprintf(&b, `\b(?P<%s>%s)\b`, name, values[kind])
		}
	}
	literal(rest)
	b.WriteString("$")
	return regexp.Compile(b.String())
}

// match reports whether a text's body is what a script says it is, and learns
// the placeholders from it. Placeholders of other names must not turn out to
// be the same.
func (m memory) match(pattern *regexp.Regexp, body string) bool {
	groups := pattern.FindStringSubmatch(words(body))
	if groups == nil {
		return false
	}
	for i, name := range pattern.SubexpNames() {
		if name == "" {
			continue
		}
		for other, value := range m {
			if value == groups[i] && other[:3] == name[:3] {
				return false
			}
		}
	}
	for i, name := range pattern.SubexpNames() {
		if name != "" {
			m[name] = groups[i]
		}
	}
	return true
}

// autofill is the line by which a telephone fills in the form.
var autofill = regexp.MustCompile(`\n@[^\s@]+ #([0-9]+)\s*$`)

// words is what a body says, on one line, without what is for the telephone.
func words(body string) string {
	return strings.Join(strings.Fields(autofill.ReplaceAllString(body, "")), " ")
}

// pinIn is the PIN that a text carries; empty for none.
func pinIn(body string) string {
	if found := autofill.FindStringSubmatch(body); found != nil {
		return found[1]
	}
	return ""
}

// receive waits for a text on the handset that is what a script says, and
// marks it as read. Texts cross on their way: of those not read yet, any may
// be it: [+NUMBER] text.
func (s *shop) receive(_ io.Writer, args []string) error {
	script := strings.Join(s.pickUp(args), " ")
	pattern, err := s.memory.pattern(script)
	if err != nil {
		return err
	}
	var unread []text
	err = until(s.ctx, func() (bool, error) {
		if unread, err = s.unread(s.handset); err != nil {
			return false, err
		}
		for _, t := range unread {
			if t.Status == "delivered" && s.memory.match(pattern, t.Body) {
				s.read[t.Sid] = true
				if pin := pinIn(t.Body); pin != "" && !strings.Contains(words(t.Body), pin) {
					return false, errors.New("the telephone would fill in another PIN than the text says")
				}
				return true, nil
			}
		}
		return false, nil
	})
	if errors.Is(err, errPatience) {
		return fmt.Errorf("%w\nexpected: %s\nunread on %s:%s", err, script, s.handset, shown(unread))
	}
	return err
}

// unread are the texts on a handset, or on all for "", that no script read.
func (s *shop) unread(handset string) ([]text, error) {
	all, err := s.booth.texts(s.ctx, handset)
	return slices.DeleteFunc(all, func(t text) bool {
		return !t.outbound() || t.lost() || s.read[t.Sid]
	}), err
}

func shown(texts []text) string {
	var b strings.Builder
	for _, t := range texts {
		fmt.Fprintf(&b, "\n  %s (%s): %s", t.To, t.Status, words(t.Body))
	}
	return b.String() + "\n"
}
