package phonebooth

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxHops is how many documents one inbound text may lead through.
const maxHops = 20

// An element is any element of TwiML.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []element  `xml:",any"`
}

func (e element) attr(name string) string {
	for _, a := range e.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// parse reads what was answered to a webhook: TwiML, or a text to say as it
// is. A code other than 0 is the debugger's for what is wrong with it.
func parse(a answer) (verbs []element, code int, problem string) {
	if a.status == http.StatusNoContent {
		return nil, 0, ""
	}
	kind, _, err := mime.ParseMediaType(a.contentType)
	if err != nil {
		return nil, 12300, fmt.Sprintf("Content-Type %q", a.contentType)
	}
	switch kind {
	case "text/xml", "application/xml", "text/html":
		root, err := document(a.body)
		if err != nil {
			return nil, 12100, err.Error()
		}
		return root.Children, 0, ""
	case "text/plain":
		if text := strings.TrimSpace(string(a.body)); text != "" {
			return []element{{XMLName: xml.Name{Local: "Message"}, Text: text}}, 0, ""
		}
		return nil, 0, ""
	}
	return nil, 12300, fmt.Sprintf("Content-Type %q", a.contentType)
}

// document reads a TwiML document: one Response, and nothing else of note.
func document(body []byte) (element, error) {
	var root element
	d := xml.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			return root, errors.New("the document is empty")
		}
		return root, err
	}
	if root.XMLName.Local != "Response" {
		return root, fmt.Errorf("the root is <%s>, not <Response>", root.XMLName.Local)
	}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return root, nil
		}
		if err != nil {
			return root, err
		}
		switch t := token.(type) {
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return root, errors.New("text after </Response>")
			}
		case xml.StartElement:
			return root, errors.New("a second root element")
		}
	}
}

// A reading follows the TwiML that answers one inbound text.
type reading struct {
	b    *Booth
	in   message // the text
	form url.Values
	hops int
	made []*message // what it has the service say, in order
}

// A visit is one document that was asked for.
type visit struct {
	answer
	failed bool // could not be had, or not be followed to its end
}

// visit asks h for a document and follows it. What goes wrong is in the
// debugger.
func (r *reading) visit(ctx context.Context, h hook) visit {
	v := visit{answer: r.b.call(ctx, h)}
	if ctx.Err() != nil {
		v.failed = true
		return v
	}
	var verbs []element
	if v.code == 0 {
		verbs, v.code, v.problem = parse(v.answer)
	}
	if v.code != 0 {
		v.failed = true
		r.b.trouble(v.code, r.in.sid, h.url, v.problem)
		return v
	}
	v.code = r.follow(ctx, verbs, h.url)
	v.failed = v.code != 0
	return v
}

// follow does what verbs say, in a document that came from base. It returns
// the debugger's code of the document that ended it, if one did.
func (r *reading) follow(ctx context.Context, verbs []element, base string) int {
	for _, verb := range verbs {
		switch verb.XMLName.Local {
		case "Message":
			m := r.message(ctx, verb, base)
			action := verb.attr("action")
			if action == "" {
				continue
			}
			// What action answers takes the place of the rest.
			form := maps.Clone(r.form)
			if m != nil {
				form.Set("MessageSid", m.Sid)
				form.Set("SmsSid", m.Sid)
				form.Set("MessageStatus", m.Status)
				form.Set("SmsStatus", m.Status)
			}
			return r.goTo(ctx, "action", base, action, verb.attr("method"), form)
		case "Redirect":
			return r.goTo(ctx, "redirect", base, strings.TrimSpace(verb.Text), verb.attr("method"), r.form)
		default:
			r.b.trouble(12200, r.in.sid, base, fmt.Sprintf("no verb <%s> for a text", verb.XMLName.Local))
		}
	}
	return 0
}

// goTo goes on with the document at ref.
func (r *reading) goTo(ctx context.Context, kind, base, ref, method string, form url.Values) int {
	target, err := resolve(base, ref)
	if r.hops++; err == nil && r.hops > maxHops {
		err = fmt.Errorf("more than %d documents for one text", maxHops)
	}
	if err != nil {
		r.b.trouble(11200, r.in.sid, base, err.Error())
		return 11200
	}
	h := r.hook(kind, target)
	h.method, h.params = cmp.Or(strings.ToUpper(method), http.MethodPost), form
	return r.visit(ctx, h).code
}

func (r *reading) hook(kind, target string) hook {
	return hook{
		kind: kind, method: http.MethodPost, url: target, params: r.form,
		sid: r.in.sid, to: r.in.from, cookies: &[2]string{r.in.from, r.in.to},
	}
}

// message texts what a Message verb says, if it can be texted.
func (r *reading) message(ctx context.Context, verb element, base string) *Message {
	now := r.b.now()
	m := &message{
		sid: newSid("SM"), direction: outboundReply, status: queued,
		from: cmp.Or(verb.attr("from"), r.in.to), to: cmp.Or(verb.attr("to"), r.in.from),
		body:    said(verb),
		created: now, updated: now, expires: now.Add(maxQueue),
	}
	for _, child := range verb.Children {
		switch child.XMLName.Local {
		case "Media":
			m.media = append(m.media, Media{URL: strings.TrimSpace(child.Text)})
			m.sid = "MM" + m.sid[2:]
		case "Body":
		default:
			r.b.trouble(12200, r.in.sid, base, fmt.Sprintf("no <%s> in a <Message>", child.XMLName.Local))
		}
	}
	m.said = m.body
	m.segments, m.encoding = segments(m.body)
	// An SMS tells its fate to action, where statusCallback is not given too.
	if callback := cmp.Or(verb.attr("statusCallback"), verb.attr("action")); callback != "" {
		if target, err := resolve(base, callback); err == nil {
			m.callback = target
		}
	}
	code, detail := 0, ""
	r.b.mu.Lock()
	switch {
	case ctx.Err() != nil: // the booth was reset meanwhile
		r.b.mu.Unlock()
		return nil
	case m.body == "" && len(m.media) == 0:
		code, detail = 14103, "a Message without words"
	case utf8.RuneCountInString(m.body) > maxBody:
		code, detail = 14103, "a Message of "+strconv.Itoa(utf8.RuneCountInString(m.body))+" characters"
	case !r.b.owns(m.from):
		code, detail = 21606, "from is not a number of the account"
	case !e164.MatchString(m.to) && !shortCode(m.to):
		code, detail = 21211, "to is not a number"
	case r.b.blocked(m.from, m.to):
		code, detail = 21610, "the reply was not sent"
	default:
		r.b.messages.add(m)
		r.b.meet(m.to)
		r.b.launch(m)
		r.made = append(r.made, m)
	}
	shown := m.shown()
	r.b.mu.Unlock()
	r.b.changed()
	if code != 0 {
		r.b.trouble(code, r.in.sid, base, detail)
		return nil
	}
	return &shown
}

// said is the text of a Message: its own and that of each Body, joined.
func said(verb element) string {
	text := strings.TrimSpace(verb.Text)
	for _, child := range verb.Children {
		if child.XMLName.Local == "Body" {
			text += strings.TrimSpace(child.Text)
		}
	}
	return text
}
