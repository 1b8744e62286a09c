package twiml_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/countersign/countersign/twiml"
)

const urlencoded = "application/x-www-form-urlencoded"

func post(contentType string, body io.Reader) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/?From=%2B14155550199&a=query", body)
	r.Header.Set("Content-Type", contentType)
	return r
}

func TestParseForm(t *testing.T) {
	for _, tt := range []struct {
		name        string
		contentType string
		body        string
		want        url.Values
		err         error
	}{
		{"a form", urlencoded, "a=1&b=2", url.Values{"a": {"1"}, "b": {"2"}}, nil},
		{"an empty form", urlencoded, "", url.Values{}, nil},
		{"a charset, as Twilio adds", urlencoded + "; charset=UTF-8", "a=%C3%B1", url.Values{"a": {"ñ"}}, nil},
		{"a media type in capitals", "Application/X-WWW-Form-URLEncoded", "a=1", url.Values{"a": {"1"}}, nil},
		{"plus and percent", urlencoded, "a=1+2%2B3%26", url.Values{"a": {"1 2+3&"}}, nil},
		{"an encoded semicolon", urlencoded, "a=1%3Bb=2", url.Values{"a": {"1;b=2"}}, nil},
		{"a repeated name", urlencoded, "a=1&a=2", url.Values{"a": {"1", "2"}}, nil},
		{"just at the limit", urlencoded, "a=" + strings.Repeat("1", twiml.MaxForm-2), url.Values{"a": {strings.Repeat("1", twiml.MaxForm-2)}}, nil},

		{"a byte over the limit", urlencoded, "a=" + strings.Repeat("1", twiml.MaxForm-1), nil, twiml.ErrTooLarge},
		{"a semicolon to separate", urlencoded, "a=1;b=2", nil, twiml.ErrUnreadable},
		{"a semicolon in another parameter", urlencoded, "a=1&b;c=2", nil, twiml.ErrUnreadable},
		{"half an escape", urlencoded, "a=%C", nil, twiml.ErrUnreadable},
		{"an escape that is none", urlencoded, "a=1&b=%zz", nil, twiml.ErrUnreadable},
		{"no media type", "", "a=1", nil, twiml.ErrMediaType},
		{"JSON", "application/json", "{}", nil, twiml.ErrMediaType},
		{"a multipart form", "multipart/form-data; boundary=x", "--x--", nil, twiml.ErrMediaType},
		{"a longer media type", urlencoded + "2", "a=1", nil, twiml.ErrMediaType},
		{"two media types", urlencoded + ", text/plain", "a=1", nil, twiml.ErrMediaType},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := twiml.ParseForm(post(tt.contentType, strings.NewReader(tt.body)), twiml.MaxForm)
			if !errors.Is(err, tt.err) {
				t.Fatalf("ParseForm = %v, want %v", err, tt.err)
			}
			if !maps.EqualFunc(got, tt.want, slices.Equal) || (got == nil) != (err != nil) {
				t.Errorf("ParseForm = %v, want %v", got, tt.want)
			}
		})
	}
}

// endless is a body without end that counts what was read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	e.read += len(p)
	return len(p), nil
}

func TestParseFormReadsNoMoreThanItMust(t *testing.T) {
	t.Run("of a body without end", func(t *testing.T) {
		var body endless
		if _, err := twiml.ParseForm(post(urlencoded, &body), twiml.MaxForm); !errors.Is(err, twiml.ErrTooLarge) {
			t.Errorf("ParseForm = %v, want ErrTooLarge", err)
		}
		if body.read > twiml.MaxForm+1 {
			t.Errorf("read %d bytes", body.read)
		}
	})
	t.Run("of a body that says it is too long", func(t *testing.T) {
		var body endless
		r := post(urlencoded, &body)
		r.ContentLength = twiml.MaxForm + 1
		if _, err := twiml.ParseForm(r, twiml.MaxForm); !errors.Is(err, twiml.ErrTooLarge) {
			t.Errorf("ParseForm = %v, want ErrTooLarge", err)
		}
		if body.read > 0 {
			t.Errorf("read %d bytes", body.read)
		}
	})
	t.Run("where the server has a lower limit", func(t *testing.T) {
		r := post(urlencoded, nil)
		r.Body = http.MaxBytesReader(nil, io.NopCloser(new(endless)), 100)
		r.ContentLength = -1
		if _, err := twiml.ParseForm(r, twiml.MaxForm); !errors.Is(err, twiml.ErrTooLarge) {
			t.Errorf("ParseForm = %v, want ErrTooLarge", err)
		}
	})
	t.Run("where the caller hangs up", func(t *testing.T) {
		hungUp := errors.New("hung up")
		body := io.MultiReader(strings.NewReader("a=1"), iotest.ErrReader(hungUp))
		_, err := twiml.ParseForm(post(urlencoded, body), twiml.MaxForm)
		if !errors.Is(err, twiml.ErrUnreadable) || !errors.Is(err, hungUp) {
			t.Errorf("ParseForm = %v, want ErrUnreadable for %v", err, hungUp)
		}
	})
	t.Run("of no body", func(t *testing.T) {
		r := post(urlencoded, nil)
		r.Body = nil
		if form, err := twiml.ParseForm(r, twiml.MaxForm); err != nil || len(form) != 0 {
			t.Errorf("ParseForm = %v, %v", form, err)
		}
	})
}

func TestParseFormErrorsHoldNothingOfTheBody(t *testing.T) {
	_, err := twiml.ParseForm(post(urlencoded, strings.NewReader("Body=%48%x2")), twiml.MaxForm)
	if err == nil || strings.ContainsAny(err.Error(), "%48") {
		t.Errorf("ParseForm = %v", err)
	}
}
