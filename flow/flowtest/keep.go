package flowtest

import (
	"slices"
	"time"

	"github.com/countersign/countersign/flow"
)

// The functions here make what a row would hold of a value: a copy that
// shares nothing, its times in whole milliseconds UTC.

func ms(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(t.UnixMilli()).UTC()
}

func keepLine(l flow.Line) flow.Line {
	l.Conversations = nil
	l.OptedOut = ms(l.OptedOut)
	l.Texts, l.Serials, l.Answers = keepRecent(l.Texts), keepRecent(l.Serials), keepRecent(l.Answers)
	return l
}

func keepRecent(r flow.Recent) flow.Recent {
	var kept flow.Recent // an empty one is nil, as from a database
	for _, t := range r {
		kept = append(kept, ms(t))
	}
	return kept
}

// keepConversation names the fields one by one, to leave the derived PIN out.
func keepConversation(c flow.Conversation) flow.Conversation {
	kept := flow.Conversation{
		ID: c.ID, Line: c.Line, Browser: c.Browser, State: c.State, Named: c.Named,
		Entries: slices.Clone(c.Entries), Complete: c.Complete, Proved: ms(c.Proved),
		Serial: c.Serial, Misses: c.Misses, Texted: ms(c.Texted), Message: c.Message,
		Failure: c.Failure, Created: ms(c.Created), Deadline: ms(c.Deadline), Ended: ms(c.Ended),
	}
	if len(kept.Entries) == 0 {
		kept.Entries = nil
	}
	kept.Serial.Expires = ms(c.Serial.Expires)
	return kept
}

func keepMessage(m flow.Message) flow.Message {
	m.Due, m.Created, m.Attempted = ms(m.Due), ms(m.Created), ms(m.Attempted)
	return m
}

func keepInbound(in flow.Inbound) flow.Inbound {
	in.At = ms(in.At)
	return in
}
