package twiml

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"unicode/utf8"
)

// ContentType is what TwiML is served as. Twilio takes a few others, and
// warns of some (error 12300); this one is safe.
const ContentType = "text/xml; charset=utf-8"

// MaxBody is how many characters a message may have, counted as Unicode code
// points (TMM; error 14103).
const MaxBody = 1600

// What a [Response] cannot say. Nothing is written then.
var (
	ErrTooLong = errors.New("twiml: message is over 1600 characters")
	ErrNoBody  = errors.New("twiml: message without a body")
	ErrNoURL   = errors.New("twiml: redirect without a URL")
	ErrMethod  = errors.New("twiml: method is neither GET nor POST")
)

// Reply writes the TwiML that answers a text with one message, to its sender
// and from the number it was sent to. An empty text writes a response that
// says nothing, so nothing is sent.
func Reply(w io.Writer, text string) error {
	var r Response
	if text != "" {
		r = Response{Message{Body: text}}
	}
	_, err := r.WriteTo(w)
	return err
}

// A Response is a TwiML document: what Twilio is to do, in this order. The
// empty Response does nothing.
type Response []Verb

// A Verb is a [Message] or a [Redirect].
type Verb interface {
	write(*bytes.Buffer) error
}

// WriteTo writes r to w, in a single call to w.Write so that net/http can set
// the Content-Length: Twilio has been known to cut chunked answers short (error
// 12100). The same Response makes the same bytes. Text that XML cannot hold,
// such as control characters and broken UTF-8, becomes U+FFFD; all other text
// arrives as it is, line ends included.
func (r Response) WriteTo(w io.Writer) (int64, error) {
	b := bytes.NewBuffer(make([]byte, 0, 512))
	b.WriteString(xml.Header)
	if len(r) == 0 {
		b.WriteString("<Response/>\n")
		return b.WriteTo(w)
	}
	b.WriteString("<Response>")
	for _, verb := range r {
		if err := verb.write(b); err != nil {
			return 0, err
		}
	}
	b.WriteString("</Response>\n")
	return b.WriteTo(w)
}

// A Message is a text to send. Fields that are empty are left to Twilio (TMM).
type Message struct {
	To     string // by default who texted us
	From   string // by default the number texted
	Action string // URL that is told the outcome, and whose TwiML comes next: verbs after this one are lost
	Method string // of Action: GET, or POST by default

	StatusCallback string // URL that is told of each status
	Body           string // up to MaxBody characters
}

func (m Message) write(b *bytes.Buffer) error {
	if m.Body == "" {
		return ErrNoBody
	}
	// A byte is at least no more than a character: count only where it matters.
	if len(m.Body) > MaxBody && utf8.RuneCountInString(m.Body) > MaxBody {
		return ErrTooLong
	}
	if err := checkMethod(m.Method); err != nil {
		return err
	}
	b.WriteString("<Message")
	attribute(b, "to", m.To)
	attribute(b, "from", m.From)
	attribute(b, "action", m.Action)
	attribute(b, "method", m.Method)
	attribute(b, "statusCallback", m.StatusCallback)
	b.WriteByte('>')
	escape(b, m.Body)
	b.WriteString("</Message>")
	return nil
}

// A Redirect goes on with the TwiML found at URL (TM).
type Redirect struct {
	URL    string
	Method string // GET, or POST by default
}

func (r Redirect) write(b *bytes.Buffer) error {
	if r.URL == "" {
		return ErrNoURL
	}
	if err := checkMethod(r.Method); err != nil {
		return err
	}
	b.WriteString("<Redirect")
	attribute(b, "method", r.Method)
	b.WriteByte('>')
	escape(b, r.URL)
	b.WriteString("</Redirect>")
	return nil
}

func checkMethod(method string) error {
	switch method {
	case "", http.MethodGet, http.MethodPost:
		return nil
	}
	return ErrMethod
}

// attribute writes an attribute, unless its value is empty.
func attribute(b *bytes.Buffer, name, value string) {
	if value == "" {
		return
	}
	b.WriteByte(' ')
	b.WriteString(name)
	b.WriteString(`="`)
	escape(b, value)
	b.WriteByte('"')
}

// escape writes s so that it reads the same in text and in an attribute. Line
// ends become character references: XML would turn a bare CR into LF, and in
// an attribute both into spaces.
func escape(b *bytes.Buffer, s string) {
	_ = xml.EscapeText(b, []byte(s)) // a Buffer takes everything
}
