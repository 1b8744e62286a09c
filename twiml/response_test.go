package twiml_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/countersign/countersign/twiml"
)

var update = flag.Bool("update", false, "rewrite testdata/*.xml with what is written now")

// documents are the golden files in testdata.
var documents = []struct {
	name     string
	response twiml.Response
}{
	{"empty", nil},
	{"reply", twiml.Response{twiml.Message{Body: "Thank you! Order 118 is confirmed."}}},
	{"markup", twiml.Response{twiml.Message{Body: `Your PIN is <4711> & "now", it's]]>`}}},
	{"lines", twiml.Response{twiml.Message{Body: "One\nTwo\r\nThree\tFour \n\n@shop.example #482913"}}},
	{"unsayable", twiml.Response{twiml.Message{Body: "nul \x00 bell \a byte \xff surrogate \xed\xa0\x80 noncharacter \uffff"}}},
	{"languages", twiml.Response{twiml.Message{Body: "ñandú žluťoučký 確認 подтверждено \u200fمؤكد 👍🏽"}}},
	{"attributes", twiml.Response{twiml.Message{
		To: "+14155550100", From: "+15558675310", Action: "https://shop.example/next?a=1&b=%22", Method: "GET",
		StatusCallback: "https://shop.example/status", Body: "Hello",
	}}},
	{"quoted", twiml.Response{twiml.Message{StatusCallback: "a\"b'c<d>e&f\ng\rh\ti\x00j", Body: "Hello"}}},
	{"several", twiml.Response{
		twiml.Message{Body: "One"},
		twiml.Message{To: "+14155550100", Body: "Two"},
		twiml.Redirect{URL: "https://shop.example/next?a=1&b=2", Method: "POST"},
	}},
	{"redirect", twiml.Response{twiml.Redirect{URL: "https://shop.example/"}}},
}

// document is TwiML, as another's parser sees it.
type document struct {
	XMLName xml.Name `xml:"Response"`
	Message []struct {
		To             string `xml:"to,attr"`
		From           string `xml:"from,attr"`
		Action         string `xml:"action,attr"`
		Method         string `xml:"method,attr"`
		StatusCallback string `xml:"statusCallback,attr"`
		Body           string `xml:",chardata"`
	}
	Redirect []struct {
		Method string `xml:"method,attr"`
		URL    string `xml:",chardata"`
	}
}

func TestDocuments(t *testing.T) {
	for _, tt := range documents {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			n, err := tt.response.WriteTo(&b)
			if err != nil || n != int64(b.Len()) {
				t.Fatalf("WriteTo = %d, %v after %d bytes", n, err, b.Len())
			}
			golden := filepath.Join("testdata", tt.name+".xml")
			if *update {
				if err := os.WriteFile(golden, b.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), want) {
				t.Errorf("wrote\n%s\nwant\n%s", &b, want)
			}

			var got document
			if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
				t.Fatalf("wrote what is no XML: %v\n%s", err, &b)
			}
			for _, verb := range tt.response {
				switch want := verb.(type) {
				case twiml.Message:
					if len(got.Message) == 0 {
						t.Fatalf("a message is lost: %s", &b)
					}
					m := got.Message[0]
					got.Message = got.Message[1:]
					want.Body = heard(want.Body)
					want.StatusCallback = heard(want.StatusCallback)
					if twiml.Message(m) != want {
						t.Errorf("parsed %+v, want %+v", m, want)
					}
				case twiml.Redirect:
					if len(got.Redirect) != 1 || got.Redirect[0].URL != want.URL || got.Redirect[0].Method != want.Method {
						t.Errorf("parsed %+v, want %+v", got.Redirect, want)
					}
				}
			}
			if len(got.Message) > 0 {
				t.Errorf("parsed messages nobody wrote: %+v", got.Message)
			}
		})
	}
}

// heard returns text with what XML cannot say replaced, by XML's own grammar:
// Char ::= #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF].
func heard(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t', r == '\n', r == '\r',
			r >= 0x20 && r <= 0xD7FF, r >= 0xE000 && r <= 0xFFFD, r >= 0x10000:
			return r
		}
		return utf8.RuneError
	}, text) // Map itself replaces each broken byte
}

func TestReplyIsGolden(t *testing.T) {
	for _, tt := range []struct{ text, golden string }{
		{"", "empty.xml"},
		{"Thank you! Order 118 is confirmed.", "reply.xml"},
	} {
		want, err := os.ReadFile(filepath.Join("testdata", tt.golden))
		if err != nil {
			t.Fatal(err)
		}
		for range 10 { // not so with a writer that ranges over a map
			var b bytes.Buffer
			if err := twiml.Reply(&b, tt.text); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), want) {
				t.Errorf("Reply(%q) wrote %s, want %s", tt.text, &b, want)
			}
		}
	}
}

func TestReplyTakesWhatTwilioTakes(t *testing.T) {
	for _, tt := range []struct {
		name string
		text string
		err  error
	}{
		{"1600 letters", strings.Repeat("a", 1600), nil},
		{"1600 characters of four bytes", strings.Repeat("👍", 1600), nil},
		{"1600 characters that need escapes", strings.Repeat("&", 1600), nil},
		{"1601 letters", strings.Repeat("a", 1601), twiml.ErrTooLong},
		{"1601 characters of four bytes", strings.Repeat("👍", 1601), twiml.ErrTooLong},
		{"1601 broken bytes", strings.Repeat("\xff", 1601), twiml.ErrTooLong},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := twiml.Reply(&b, tt.text); !errors.Is(err, tt.err) {
				t.Errorf("Reply = %v, want %v", err, tt.err)
			}
			if tt.err != nil && b.Len() > 0 {
				t.Errorf("refused, yet wrote %d bytes", b.Len())
			}
		})
	}
}

func TestResponseRefuses(t *testing.T) {
	hello := twiml.Message{Body: "Hello"}
	for _, tt := range []struct {
		name string
		verb twiml.Verb
		err  error
	}{
		{"a message without a body", twiml.Message{To: "+14155550100"}, twiml.ErrNoBody},
		{"a message too long", twiml.Message{Body: strings.Repeat("a", 1601)}, twiml.ErrTooLong},
		{"a message with another method", twiml.Message{Body: "Hello", Action: "/", Method: "PUT"}, twiml.ErrMethod},
		{"a message with a method in small letters", twiml.Message{Body: "Hello", Action: "/", Method: "get"}, twiml.ErrMethod},
		{"a redirect to nowhere", twiml.Redirect{}, twiml.ErrNoURL},
		{"a redirect with another method", twiml.Redirect{URL: "/", Method: "DELETE"}, twiml.ErrMethod},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			n, err := twiml.Response{hello, tt.verb, hello}.WriteTo(&b)
			if !errors.Is(err, tt.err) {
				t.Errorf("WriteTo = %v, want %v", err, tt.err)
			}
			if n != 0 || b.Len() > 0 {
				t.Errorf("refused, yet wrote %s", &b)
			}
		})
	}
}

// writes counts the calls to Write, each of which fails with err.
type writes struct {
	n   int
	err error
}

func (w *writes) Write(p []byte) (int, error) {
	w.n++
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

func TestReplyWritesOnce(t *testing.T) {
	for _, text := range []string{"", "Hello", strings.Repeat("<", 1600)} {
		var w writes
		if err := twiml.Reply(&w, text); err != nil || w.n != 1 {
			t.Errorf("Reply of %d characters: %v after %d writes", len(text), err, w.n)
		}
	}
}

func TestReplyTellsWhenItCannotWrite(t *testing.T) {
	for _, text := range []string{"", "Hello"} {
		if err := twiml.Reply(&writes{err: io.ErrClosedPipe}, text); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Reply(%q) = %v", text, err)
		}
	}
}

// Any text makes XML that says that text and nothing else, or is refused for
// its length.
func FuzzReply(f *testing.F) {
	f.Add("")
	f.Add(`Your PIN is <4711> & "now"`)
	f.Add("</Message><Message>")
	f.Add("]]>\r\n\t\x00\xff\ufffe\ufffd")
	f.Add(strings.Repeat("é", 1601))
	f.Fuzz(func(t *testing.T, text string) {
		var b bytes.Buffer
		err := twiml.Reply(&b, text)
		if utf8.RuneCountInString(text) > 1600 {
			if !errors.Is(err, twiml.ErrTooLong) {
				t.Fatalf("Reply of %d bytes = %v, want ErrTooLong", len(text), err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		var got document
		if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
			t.Fatalf("Reply(%q) wrote %s: %v", text, &b, err)
		}
		switch {
		case text == "" && len(got.Message) == 0:
		case len(got.Message) != 1 || got.Message[0].Body != heard(text):
			t.Errorf("Reply(%q) says %q", text, got.Message)
		}
	})
}

func BenchmarkReply(b *testing.B) {
	for _, bb := range []struct{ name, text string }{
		{"nothing", ""},
		{"a text", "Thank you! Order 118 is confirmed."},
		{"1600 characters", strings.Repeat("Tom & Jerry's ", 114)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := twiml.Reply(io.Discard, bb.text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
