package phonebooth

import (
	"slices"
	"strconv"
	"time"
)

// Message statuses, in Twilio's words.
const (
	accepted    = "accepted"
	scheduled   = "scheduled"
	queued      = "queued"
	sent        = "sent"
	delivered   = "delivered"
	undelivered = "undelivered"
	failed      = "failed"
	canceled    = "canceled"
	received    = "received"
)

// Message directions, in Twilio's words.
const (
	inbound       = "inbound"
	outboundAPI   = "outbound-api"
	outboundReply = "outbound-reply"
)

// pricePerSegment is the list price of a US text, in USD.
const pricePerSegment = 0.0083

// A message is one text, either way. Booth.mu guards all of it.
type message struct {
	sid       string
	from, to  string
	service   string // MessagingServiceSid, or ""
	body      string // as the REST API tells it: redacting empties it
	said      string // as the telephone shows it: what was read cannot be unread
	status    string
	direction string
	code      int // error_code, or 0
	segments  int
	encoding  string
	media     []Media
	feedback  bool // ProvideFeedback
	callback  string
	heard     heard // of an inbound one: what Twilio made of it
	deleted   bool  // gone from the REST API, still on the telephone

	created, updated time.Time
	sent             time.Time // zero until it left
	expires          time.Time // when a text still queued is given up
	sendAt           time.Time // of a scheduled one
}

// sender is how the REST API tells who texts: nobody, until a Messaging
// Service has picked one.
func (m *message) sender() *string {
	if m.status == accepted || m.status == scheduled {
		return nil
	}
	return &m.from
}

func (m *message) is(status string, now time.Time) {
	m.status, m.updated = status, now
}

// over reports whether nothing more will become of m.
func (m *message) over() bool {
	switch m.status {
	case delivered, undelivered, failed, canceled, received:
		return true
	}
	return false
}

// price is what m cost, once it left: never before, and never negative zero.
func (m *message) price() *string {
	if m.sent.IsZero() {
		return nil
	}
	p := strconv.FormatFloat(-pricePerSegment*float64(m.segments), 'f', 5, 64)
	return &p
}

// handset is the telephone at the other end of m.
func (m *message) handset() string {
	if m.direction == inbound {
		return m.from
	}
	return m.to
}

// A Message is a text as the telephones and the control calls show it.
type Message struct {
	Sid       string    `json:"sid"`
	From      string    `json:"from"`
	To        string    `json:"to"`
	Body      string    `json:"body"`
	Status    string    `json:"status"`
	Direction string    `json:"direction"`
	Segments  int       `json:"segments"`
	Encoding  string    `json:"encoding"`
	Date      time.Time `json:"date"`    // when it was created
	Updated   time.Time `json:"updated"` // when its status last changed
	ErrorCode int       `json:"error_code,omitempty"`
	Service   string    `json:"messaging_service_sid,omitempty"`
	Media     []Media   `json:"media,omitempty"`
	Redacted  bool      `json:"redacted,omitempty"` // the REST API no longer tells the body
	Deleted   bool      `json:"deleted,omitempty"`  // the REST API no longer knows it
}

// Media is a picture, or whatever else came with a text.
type Media struct {
	URL         string `json:"url"`
	ContentType string `json:"content_type"`
}

func (m *message) shown() Message {
	return Message{
		Sid: m.sid, From: m.from, To: m.to, Body: m.said,
		Status: m.status, Direction: m.direction,
		Segments: m.segments, Encoding: m.encoding,
		Date: m.created.UTC(), Updated: m.updated.UTC(),
		ErrorCode: m.code, Service: m.service, Media: m.media,
		Redacted: m.body != m.said, Deleted: m.deleted,
	}
}

// messages remembers the latest texts, oldest first.
type messages struct {
	keep  int
	order []*message
	bySid map[string]*message
}

func newMessages(keep int) messages {
	return messages{keep: keep, bySid: map[string]*message{}}
}

// add remembers m, and forgets the oldest beyond what is kept: an eighth at a
// time, so that a full booth does not move its whole memory at every text.
func (ms *messages) add(m *message) {
	ms.order = append(ms.order, m)
	ms.bySid[m.sid] = m
	if len(ms.order) <= ms.keep+ms.keep/8 {
		return
	}
	cut := len(ms.order) - ms.keep
	for _, old := range ms.order[:cut] {
		delete(ms.bySid, old.sid)
	}
	ms.order = slices.Clone(ms.order[cut:])
}

// shown is every text to or from number, or all if number is "".
func (ms *messages) shown(number string) []Message {
	list := []Message{}
	for _, m := range ms.order {
		if number == "" || m.to == number || m.from == number {
			list = append(list, m.shown())
		}
	}
	return list
}
