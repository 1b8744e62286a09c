package phonebooth

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A page is one page of a list, as the REST API tells it.
type page struct {
	FirstPageURI    string `json:"first_page_uri" xml:"firstpageuri,attr"`
	End             int    `json:"end" xml:"end,attr"`
	PreviousPageURI maybe  `json:"previous_page_uri" xml:"previouspageuri,attr"`
	URI             string `json:"uri" xml:"uri,attr"`
	PageSize        int    `json:"page_size" xml:"pagesize,attr"`
	Start           int    `json:"start" xml:"start,attr"`
	NextPageURI     maybe  `json:"next_page_uri" xml:"nextpageuri,attr"`
	Page            int    `json:"page" xml:"page,attr"`
}

type messageList struct {
	XMLName xml.Name `json:"-" xml:"Messages"`
	page
	Messages []*messageResource `json:"messages"`
}

// list is GET …/Messages: newest first, filtered by To, From and the day or
// the moment it was sent.
//
// A text that has not left yet has no DateSent; it is filtered by when it was
// created, so that whoever lost our answer finds out here that we have it.
func (b *Booth) list(uri string, q url.Values) (int, resource, *restError) {
	keep, refusal := filter(q)
	if refusal != nil {
		return 0, nil, refusal
	}
	size, number, refusal := paging(q)
	if refusal != nil {
		return 0, nil, refusal
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []*message
	for i := len(b.messages.order) - 1; i >= 0; i-- {
		if m := b.messages.order[i]; !m.deleted && keep(m) {
			found = append(found, m)
		}
	}
	// A token names the last text of the page before, so that a page does not
	// shift when new texts come in.
	from := number * size
	if after, ok := strings.CutPrefix(q.Get("PageToken"), "PA"); ok {
		for i, m := range found {
			if m.sid == after {
				from = i + 1
			}
		}
	}
	from = min(from, len(found))
	to := min(from+size, len(found))
	out := messageList{page: turn(uri, q, size, number, to-from), Messages: []*messageResource{}}
	for _, m := range found[from:to] {
		out.Messages = append(out.Messages, b.resource(m))
	}
	if to < len(found) {
		out.NextPageURI = maybe(pageURI(uri, q, size, number+1, "PA"+found[to-1].sid))
	}
	return http.StatusOK, out, nil
}

// turn fills in the frame of a page with n entries.
func turn(uri string, q url.Values, size, number, n int) page {
	p := page{
		FirstPageURI: pageURI(uri, q, size, 0, ""), URI: pageURI(uri, q, size, number, q.Get("PageToken")),
		PageSize: size, Page: number, Start: number * size, End: max(number*size+n-1, 0),
	}
	if number > 0 {
		p.PreviousPageURI = maybe(pageURI(uri, q, size, number-1, ""))
	}
	return p
}

func pageURI(uri string, q url.Values, size, number int, token string) string {
	v := url.Values{}
	for _, name := range []string{"To", "From", "DateSent", "DateSent<", "DateSent>", "PhoneNumber"} {
		if q.Has(name) {
			v.Set(name, q.Get(name))
		}
	}
	v.Set("PageSize", strconv.Itoa(size))
	v.Set("Page", strconv.Itoa(number))
	if token != "" {
		v.Set("PageToken", token)
	}
	return uri + "?" + v.Encode()
}

func paging(q url.Values) (size, number int, refusal *restError) {
	for name, p := range map[string]struct {
		into          *int
		def, min, max int
	}{"PageSize": {&size, 50, 1, 1000}, "Page": {&number, 0, 0, 1 << 20}} {
		*p.into = p.def
		if s := q.Get(name); s != "" {
			n, err := strconv.Atoi(s)
			if err != nil || n < p.min {
				return 0, 0, refuse(20001, name+" must be a number")
			}
			*p.into = min(n, p.max)
		}
	}
	return size, number, nil
}

// filter reads To, From, DateSent, DateSent< and DateSent>. A bound is a day
// or a moment, to the second, and belongs to what it bounds.
func filter(q url.Values) (func(*message) bool, *restError) {
	var tests []func(*message) bool
	if to := number(q.Get("To")); to != "" {
		tests = append(tests, func(m *message) bool { return m.to == to })
	}
	if from := number(q.Get("From")); from != "" {
		tests = append(tests, func(m *message) bool { return m.sender() != nil && m.from == from })
	}
	for name, holds := range map[string]func(at, first, last time.Time) bool{
		"DateSent":  func(at, first, last time.Time) bool { return !at.Before(first) && !at.After(last) },
		"DateSent<": func(at, _, last time.Time) bool { return !at.After(last) },
		"DateSent>": func(at, first, _ time.Time) bool { return !at.Before(first) },
	} {
		s := q.Get(name)
		if s == "" {
			continue
		}
		first, last, err := span(s, name == "DateSent")
		if err != nil {
			return nil, refuse(20001, fmt.Sprintf("%s must be a date", name))
		}
		tests = append(tests, func(m *message) bool {
			at := m.sent
			if at.IsZero() {
				at = m.created
			}
			return holds(at.Truncate(time.Second), first, last)
		})
	}
	return func(m *message) bool {
		for _, holds := range tests {
			if !holds(m) {
				return false
			}
		}
		return true
	}, nil
}

// span is the first and last second that s names: those of a day, or one
// moment twice. Twilio matches a bare DateSent by its day.
func span(s string, byDay bool) (first, last time.Time, err error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05"} {
		if first, err = time.Parse(layout, s); err == nil {
			if !byDay {
				return first, first, nil
			}
			s = first.UTC().Format(time.DateOnly)
			break
		}
	}
	first, err = time.Parse(time.DateOnly, s)
	return first, first.Add(24*time.Hour - time.Second), err
}
