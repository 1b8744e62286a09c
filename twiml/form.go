package twiml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// MaxForm is how long a webhook's body may be, in bytes. A text of 1600
// characters is at most 14,400 when every one of them takes nine to encode;
// with the rest of its form it stays below.
const MaxForm = 16 << 10

// What [ParseForm] cannot read. None of them tells what was in the body.
var (
	ErrMediaType  = errors.New("twiml: body is not a URL-encoded form")  // 415
	ErrTooLarge   = errors.New("twiml: body is too large")               // 413
	ErrUnreadable = errors.New("twiml: body cannot be read as the form") // 400
)

// ParseForm reads r's body as a URL-encoded form of at most limit bytes,
// usually [MaxForm]. It ignores the query, which Twilio signs as part of the
// URL, and whatever r.ParseForm left; the body must not have been read yet.
//
// It fails with [ErrMediaType], [ErrTooLarge] or [ErrUnreadable]. A body that
// does not end is cut at the limit; one that does not begin is for the
// server's timeouts. A semicolon does not separate parameters and must be
// written %3B, as Twilio does: a form that other readers would cut elsewhere
// is unreadable.
func ParseForm(r *http.Request, limit int64) (url.Values, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, ErrMediaType
	}
	if r.ContentLength > limit {
		return nil, ErrTooLarge
	}
	if r.Body == nil {
		return url.Values{}, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	var cut *http.MaxBytesError // the caller's own limit, lower than this one
	switch {
	case errors.As(err, &cut) || int64(len(body)) > limit:
		return nil, ErrTooLarge
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, ErrUnreadable // alone: err quotes the body
	}
	return form, nil
}

// A FormError says why a form is refused though its signature is good.
//
// Twilio's signature is of one string, in which nothing parts names from
// values, and only the order of the names limits where they are. Whoever has
// seen a signed webhook can cut the string otherwise and post the outcome,
// signature and all. Then
//
//	Body=482913&From=+14155550100&To=+15558675310     may become
//	Body=482913F&rom=+14155550100To+15558675310       (From is missing)
//
// and whoever wrote the text himself, and got to see its signature, can name
// another sender and hide the true one in a parameter nobody reads. He texts
// "482913From+14155550199FromA", and then posts
//
//	Body=482913&From=+14155550199&FromA=From+14155550100&To=+15558675310
//
// So of a signed form we ask more than its signature:
//
//   - every field that must be there is there, once;
//   - every field that is read is well-formed: a sid, a number, a status;
//   - every parameter, read or not, has a name as Twilio makes them: letters,
//     the first a capital, and perhaps digits at the end;
//   - outside Body, the name of a field we read stands in the signed string
//     only as a name, or in one of Twilio's such as FromCity. A value that
//     holds "From" holds perhaps a sender that was moved there.
//
// What that leaves is small. Who has seen another's text signed may shorten
// it, if what he takes away begins like a name that sorts between Body and
// From ("482913 Do not"), but must be faster than Twilio, for what has the same
// MessageSid is the same text. Who texted himself may put a place (CA, from
// FromState) for his number, which then is not [E164].
type FormError struct {
	// Field is the name of a field this package reads, so it is one of few and
	// fit for a label. It is empty if a parameter's name itself is the problem.
	Field   string
	Problem Problem
}

// A Problem is what is wrong with a form.
type Problem string

// The problems a signed form can have.
const (
	Missing   Problem = "missing"
	Repeated  Problem = "repeated"
	Malformed Problem = "malformed"
	Foreign   Problem = "foreign"   // of an account that is not ours
	Ambiguous Problem = "ambiguous" // its name stands elsewhere too
)

// Error names the field and the problem. It holds no value from the form.
func (e *FormError) Error() string {
	if e.Field == "" {
		return "twiml: the form has a parameter whose name is " + string(e.Problem)
	}
	return "twiml: the form's " + e.Field + " is " + string(e.Problem)
}

// fields takes fields out of a form and remembers the first problem.
type fields struct {
	form url.Values
	read []string // names of the fields asked for
	err  error    // a *FormError
}

func (f *fields) fail(name string, problem Problem) {
	if f.err == nil {
		f.err = &FormError{name, problem}
	}
}

// required returns the value of name, which must be there once and be good.
func (f *fields) required(name string, good func(string) bool) string {
	if len(f.form[name]) == 0 {
		f.fail(name, Missing)
	}
	value := f.once(name)
	if !good(value) {
		f.fail(name, Malformed)
	}
	return value
}

// optional returns the value of name, which must be good unless it is absent
// or empty, which are the same.
func (f *fields) optional(name string, good func(string) bool) string {
	value := f.once(name)
	if value != "" && !good(value) {
		f.fail(name, Malformed)
	}
	return value
}

func (f *fields) once(name string) string {
	f.read = append(f.read, name)
	if len(f.form[name]) > 1 {
		f.fail(name, Repeated)
	}
	return f.form.Get(name)
}

// account reads AccountSid, which must be ours.
func (f *fields) account(ours string) string {
	sid := f.required("AccountSid", anything)
	if sid == "" || sid != ours {
		f.fail("AccountSid", Foreign)
	}
	return sid
}

// done returns the first problem, having looked for fields that may have been
// moved into parameters that were not read. See [FormError].
func (f *fields) done() error {
	if f.err != nil {
		return f.err
	}
	names := sortedNames(make([]string, 0, len(f.form)), f.form)
	signed := make([]byte, 0, 1024) // all that is signed of the form, but for Body's value
	for i, name := range names {
		switch {
		case !properName(name):
			return &FormError{"", Malformed}
		case name == "Body":
			signed = append(signed, "Body\x00"...)
		default:
			signed = appendFields(signed, f.form, names[i:i+1])
		}
	}
	for _, field := range f.read {
		// Body is not a word to forbid in a value, and To begins cities. They
		// need no search: both are required, To must be a number, and only
		// what stands before From is of the texter's making.
		if field == "Body" || field == "To" {
			continue
		}
		asName := 0
		for _, name := range names {
			if name == field || longer(name, field) {
				asName++
			}
		}
		if bytes.Count(signed, []byte(field)) != asName {
			return &FormError{field, Ambiguous}
		}
	}
	return nil
}

// properName reports whether name looks like one of Twilio's parameters, such
// as MessageSid or MediaUrl10.
func properName(name string) bool {
	word := strings.TrimRight(name, "0123456789")
	return word != "" && isUpper(word[0]) &&
		allOf(word, func(c byte) bool { return isUpper(c) || isLower(c) || c == '_' || c == '.' })
}

// longer reports whether name is another parameter that field is a part of,
// rather than field and its value made one name, such as OptOutTypeSTOP. Such
// are FromCity, for From; SmsMessageSid and ReferralNumMedia, for the others.
// What ends in From is none of them: before From stands what the texter wrote.
func longer(name, field string) bool {
	rest, ok := strings.CutSuffix(name, field)
	if field == "From" {
		rest, ok = strings.CutPrefix(name, field)
	}
	return ok && capitalised(rest)
}

// capitalised reports whether s is words such as CountryCode: each of a
// capital and some small letters. The empty string has no words, and is.
func capitalised(s string) bool {
	for i := range len(s) {
		wordEnds := i+1 == len(s) || isUpper(s[i+1])
		switch {
		case isUpper(s[i]):
			if wordEnds {
				return false
			}
		case !isLower(s[i]) || i == 0:
			return false
		}
	}
	return true
}

func anything(string) bool { return true }

// sid returns a test for Twilio's ids: one of the prefixes, then 32
// hexadecimal digits.
func sid(prefixes ...string) func(string) bool {
	return func(s string) bool {
		return len(s) == 34 && slices.Contains(prefixes, s[:2]) && allOf(s[2:], isHex)
	}
}

// number reports whether s is a count or a code, in decimal.
func number(s string) bool { return s != "" && len(s) <= 6 && allOf(s, isDigit) }

// keyword reports whether s is a word of capitals, such as STOP.
func keyword(s string) bool { return s != "" && len(s) <= 32 && allOf(s, isUpper) }

func allOf(s string, is func(byte) bool) bool {
	for i := range len(s) {
		if !is(s[i]) {
			return false
		}
	}
	return true
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isHex(c byte) bool   { return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }
