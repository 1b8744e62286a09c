package phonebooth

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Text is what a customer texts.
type Text struct {
	Body  string  `json:"body"`
	To    string  `json:"to,omitempty"`    // one of the account's numbers; the first if ""
	Sid   string  `json:"sid,omitempty"`   // of this text; a known one is delivered again as it was
	Media []Media `json:"media,omitempty"` // what came with it
}

// An Answer is what came of a Text.
type Answer struct {
	Sid            string    `json:"sid"`                       // of the text
	WebhookStatus  int       `json:"webhook_status"`            // of the inbound URL; 0 if there was no answer
	TwiML          string    `json:"twiml"`                     // what was answered, by the fallback if the first failed
	Messages       []Message `json:"messages"`                  // what came back to the telephone, Twilio's own words among it
	Forwarded      bool      `json:"forwarded"`                 // whether the service was told at all
	OptOutType     string    `json:"opt_out_type,omitempty"`    // as the service was told it
	ErrorCode      int       `json:"error_code,omitempty"`      // of the debugger
	FallbackStatus int       `json:"fallback_status,omitempty"` // of the fallback URL, if it was asked
	Attempts       int       `json:"attempts,omitempty"`        // calls of the inbound URL
}

// Text lets the handset text the account, and returns once the service has
// answered and its answer is on its way back.
func (b *Booth) Text(handset string, t Text) (Answer, error) {
	b.mu.Lock()
	ctx := b.era
	m, mine, err := b.receive(handset, t)
	if err != nil {
		b.mu.Unlock()
		return Answer{}, err
	}
	answer := Answer{Sid: m.sid, Messages: []Message{}}
	var twice bool
	h := m.heard
	if mine { // Twilio's filter has seen a text that is delivered again
		m.heard = b.hear(m.to, handset, m.body)
		h = m.heard
		if h.says != "" {
			auto := b.autoReply(m, h.says)
			answer.Messages = append(answer.Messages, auto.shown())
		}
	}
	if b.cfg.InboundURL != "" && !h.swallowed {
		answer.Forwarded, answer.OptOutType = true, h.optOutType
		twice = b.strikeStage(asking, handset) != nil
	}
	in := *m
	b.mu.Unlock()
	b.changed()

	if !answer.Forwarded {
		return answer, nil
	}
	made := b.ask(ctx, in, &answer)
	if twice {
		made = append(made, b.ask(ctx, in, &answer)...)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range made {
		answer.Messages = append(answer.Messages, m.shown())
	}
	return answer, nil
}

// receive takes a text in: as a new message, which is mine to hear, or as the
// one that had its sid. The caller holds the lock.
func (b *Booth) receive(handset string, t Text) (m *message, mine bool, err error) {
	ours := cmp.Or(number(t.To), b.cfg.Numbers[0])
	switch {
	case b.messages.bySid[t.Sid] != nil:
		m := b.messages.bySid[t.Sid]
		if m.direction != inbound || m.from != handset {
			return nil, false, errors.New("the sid is another message's")
		}
		return m, false, nil
	case t.Sid != "" && !messageSid.MatchString(t.Sid):
		return nil, false, errors.New("the sid is not SM or MM and 32 hex digits")
	case handset == "" || len(handset) > 64:
		return nil, false, errors.New("the telephone has no number")
	case !b.owns(ours):
		return nil, false, errors.New("to is not a number of the account")
	case utf8.RuneCountInString(t.Body) > maxBody:
		return nil, false, errors.New("the body is longer than 1600 characters")
	case t.Body == "" && len(t.Media) == 0:
		return nil, false, errors.New("there is neither a body nor media")
	case len(t.Media) > 10:
		return nil, false, errors.New("there are more than 10 media")
	}
	prefix := "SM"
	if len(t.Media) > 0 {
		prefix = "MM"
	}
	now := b.now()
	m = &message{
		sid: cmp.Or(t.Sid, newSid(prefix)), from: handset, to: ours, service: b.cfg.ServiceSid,
		body: t.Body, said: t.Body, status: received, direction: inbound, media: t.Media,
		created: now, updated: now, sent: now,
	}
	m.segments, m.encoding = segments(m.body)
	b.messages.add(m)
	b.meet(handset)
	return m, true, nil
}

// autoReply has Twilio itself answer in: an opt-out cannot block it. The
// caller holds the lock.
func (b *Booth) autoReply(in *message, says string) *message {
	now := b.now()
	m := &message{
		sid: newSid("SM"), from: in.to, to: in.from, body: says, said: says,
		status: queued, direction: outboundReply,
		created: now, updated: now, expires: now.Add(maxQueue),
	}
	m.segments, m.encoding = segments(says)
	b.messages.add(m)
	b.launch(m)
	return m
}

// ask tells the service of in and follows its TwiML, or the fallback's if that
// fails. It enters into a what happened, and returns what the service says.
func (b *Booth) ask(ctx context.Context, in message, a *Answer) []*message {
	r := reading{b: b, in: in, form: b.inboundForm(in)}
	v := r.visit(ctx, r.hook("inbound", b.cfg.InboundURL))
	a.WebhookStatus, a.Attempts = v.status, a.Attempts+v.attempts
	a.TwiML, a.ErrorCode = string(v.body), v.code
	if v.failed && b.cfg.FallbackURL != "" && ctx.Err() == nil {
		h := r.hook("fallback", b.cfg.FallbackURL)
		h.params = maps.Clone(r.form)
		h.params.Set("ErrorCode", strconv.Itoa(v.code))
		h.params.Set("ErrorUrl", bare(b.cfg.InboundURL))
		fallback := r.visit(ctx, h)
		a.FallbackStatus = fallback.status
		a.TwiML = string(fallback.body)
	}
	return r.made
}

// inboundForm is what the service is told of a text.
func (b *Booth) inboundForm(in message) url.Values {
	v := url.Values{
		"AccountSid":    {b.cfg.AccountSid},
		"ApiVersion":    {apiVersion},
		"Body":          {in.body},
		"From":          {in.from},
		"To":            {in.to},
		"MessageSid":    {in.sid},
		"SmsMessageSid": {in.sid},
		"SmsSid":        {in.sid},
		"SmsStatus":     {received},
		"NumMedia":      {strconv.Itoa(len(in.media))},
		"NumSegments":   {strconv.Itoa(in.segments)},
	}
	if in.service != "" {
		v.Set("MessagingServiceSid", in.service)
	}
	if in.heard.optOutType != "" {
		v.Set("OptOutType", in.heard.optOutType)
	}
	for i, media := range in.media {
		v.Set("MediaUrl"+strconv.Itoa(i), media.URL)
		v.Set("MediaContentType"+strconv.Itoa(i), cmp.Or(media.ContentType, "image/jpeg"))
	}
	for end, number := range map[string]string{"From": in.from, "To": in.to} {
		country := country(number)
		if country == "" {
			continue
		}
		v.Set(end+"Country", country)
		for _, part := range []string{"City", "State", "Zip"} {
			v.Set(end+part, "") // known to exist, and no more
		}
	}
	return v
}

// countries are a few calling codes: enough to show that the field comes and
// goes. +1 is taken for the United States.
var countries = map[string]string{
	"+1": "US", "+31": "NL", "+33": "FR", "+34": "ES", "+39": "IT", "+41": "CH", "+44": "GB",
	"+45": "DK", "+46": "SE", "+47": "NO", "+48": "PL", "+49": "DE", "+61": "AU", "+81": "JP", "+91": "IN",
}

func country(number string) string {
	for n := 2; n <= min(3, len(number)); n++ {
		if c, ok := countries[number[:n]]; ok {
			return c
		}
	}
	return ""
}

// number is s as a telephone number, as far as it is one: a plus that a query
// turned into a space, or that was left out of ten digits and more, is put
// back.
func number(s string) string {
	s = strings.TrimSpace(s)
	if len(s) >= 10 && s[0] != '0' && strings.Trim(s, "0123456789") == "" {
		return "+" + s
	}
	return s
}
