package phonebooth

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// What Twilio allows of a text.
const (
	maxBody     = 1600      // characters
	maxValidity = 10 * 3600 // seconds
	maxQueue    = 10 * time.Hour
	soonest     = 15 * time.Minute    // that a text can be scheduled for
	latest      = 35 * 24 * time.Hour // likewise
)

// Twilio's magic numbers: a text to or from one of these always meets the same
// fate (twilio.com/docs/iam/test-credentials). They work beside the account's
// own numbers, where Twilio wants separate test credentials for them.
var (
	magicTo = map[string]int{
		"+15005550001": 21211,
		"+15005550002": 21612,
		"+15005550003": 21408,
		"+15005550004": 21610,
		"+15005550009": 21614,
	}
	magicFrom = map[string]int{
		"+15005550001": 21212,
		"+15005550007": 21606,
		"+15005550008": 21611,
		magicSender:    0,
	}
)

const magicSender = "+15005550006"

// create is POST …/Messages: it refuses a text at once, or takes it and sends
// it on its way.
func (b *Booth) create(form url.Values) (int, resource, *restError) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, refused := b.draft(form)
	if refused != nil {
		return 0, nil, refused
	}
	if f := b.strikeStage(refusal, m.to); f != nil {
		return 0, nil, refuse(f.Code, details(f.Code, m)...)
	}
	b.messages.add(m)
	b.meet(m.to)
	created := b.resourceAtBirth(m)
	b.changed()
	return http.StatusCreated, created, nil
}

// resourceAtBirth launches m, and is what Twilio answers to its creation:
// how it was before anything became of it.
func (b *Booth) resourceAtBirth(m *message) *messageResource {
	born := *m
	b.launch(m)
	return b.resource(&born)
}

// draft judges a request to text, in the order of Twilio's own errors: what is
// missing, then who texts, then whom, then how.
func (b *Booth) draft(form url.Values) (*message, *restError) {
	from, to, service := number(form.Get("From")), number(form.Get("To")), form.Get("MessagingServiceSid")
	body := form.Get("Body")
	switch {
	case to == "":
		return nil, refuse(21604)
	case from == "" && service == "":
		return nil, refuse(21603)
	case body == "" && !form.Has("MediaUrl"):
		return nil, refuse(21602)
	case utf8.RuneCountInString(body) > maxBody:
		return nil, refuse(21617)
	}
	if service != "" { // and a From beside it picks among the service's
		if b.cfg.ServiceSid != service {
			return nil, refuse(21701, service)
		}
		if !b.owns(from) {
			from = b.cfg.Numbers[0]
		}
	} else if code, magic := magicFrom[from]; code != 0 {
		return nil, refuse(code, from)
	} else if !magic && !b.owns(from) {
		return nil, refuse(21606, from)
	}

	m := &message{
		from: from, to: to, service: service, body: body, direction: outboundAPI,
		feedback: form.Get("ProvideFeedback") == "true",
	}
	if code := magicTo[to]; code != 0 {
		return nil, refuse(code, details(code, m)...)
	}
	switch {
	case !e164.MatchString(to) || strings.HasPrefix(to, "+1") && len(to) != len("+1")+10:
		return nil, refuse(21211, to)
	case to == from:
		return nil, refuse(21266, to)
	case service == "" && b.blocked(from, to):
		return nil, refuse(21610)
	}
	return m, b.finish(m, form)
}

// finish fills in m from the rest of the form.
func (b *Booth) finish(m *message, form url.Values) *restError {
	now := b.now()
	m.sid, m.created, m.updated = newSid("SM"), now, now
	for _, u := range form["MediaUrl"] {
		m.media = append(m.media, Media{URL: u})
		m.sid = "MM" + m.sid[2:]
	}
	if form.Get("SmartEncoded") == "true" {
		m.body = smarten.Replace(m.body)
	}
	m.said = m.body
	m.segments, m.encoding = segments(m.body)
	m.callback = form.Get("StatusCallback")
	if m.callback == "" && m.service != "" {
		m.callback = b.cfg.StatusCallback
	}
	if m.callback != "" && !callable(m.callback) {
		return refuse(21609, m.callback)
	}
	validity := maxValidity
	if s := form.Get("ValidityPeriod"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxValidity {
			return refuse(20001, "ValidityPeriod must be between 1 and 36000")
		}
		validity = n
	}
	m.expires = now.Add(time.Duration(validity) * time.Second)
	m.status = queued
	if m.service == "" {
		if b.overflows(m.from, m.segments) {
			return refuse(21611, m.from)
		}
		return nil // without a service Twilio drops ScheduleType and sends at once
	}
	m.status = accepted
	if form.Get("ScheduleType") == "fixed" {
		at, err := time.Parse(time.RFC3339, form.Get("SendAt"))
		if err != nil || at.Before(now.Add(soonest)) || at.After(now.Add(latest)) {
			return refuse(35114)
		}
		m.status, m.sendAt = scheduled, at
		m.expires = at.Add(time.Duration(validity) * time.Second)
	}
	return nil
}

// details is what the words of a refusal of m name.
func details(code int, m *message) []any {
	switch code {
	case 21211, 21266, 21408, 21614:
		return []any{m.to}
	case 21212, 21606, 21611:
		return []any{m.from}
	case 21612:
		return []any{m.to, m.from}
	case 21609:
		return []any{m.callback}
	case 21701:
		return []any{m.service}
	case 20001, 20404:
		return []any{"Messages"}
	}
	return nil
}

// callable reports whether Twilio would take callback: an http or https URL
// whose host has no underscore.
func callable(callback string) bool {
	u, err := url.Parse(callback)
	return err == nil && isHTTP(u) && u.Hostname() != "" && !strings.Contains(u.Hostname(), "_")
}
