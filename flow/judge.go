package flow

import "time"

// Tries for one PIN. Web tries are counted on the conversation, so that a
// forged sender cannot use up the browser's; reply tries on the line, since a
// wrong PIN names no order.
const (
	WebTries   = 5
	ReplyTries = 3
)

// A Guess is a PIN as it was given.
type Guess struct {
	Channel Channel // Web or Reply
	PIN     PIN
	// Order is the one it is for. A reply that names none may be for any open
	// one of its line.
	Order *Conversation
}

// Judge compares a guess with the PINs of line l and names the event that it
// is. The conversation returned is the one it happens to: the matched one, else
// the named one, else the newest; nil if the line has none open. It is pure:
// counting the miss is [charge]'s.
func Judge(l *Line, g Guess, now time.Time) (*Conversation, Event) {
	candidates := l.Open()
	if g.Order != nil {
		candidates = []*Conversation{g.Order}
	}
	var newest, compared, matched, late *Conversation
	barred := false
	for _, c := range candidates {
		newest = c
		switch {
		case !c.Proved.IsZero():
			// A reply has proved its number: there is nothing left to guess at.
		case triesLeft(l, c, g.Channel) == 0:
			barred = true
		case c.Live(now):
			compared = c
			if c.pin.Equal(g.PIN) {
				matched = c
			}
		case c.pin.Equal(g.PIN):
			late = c
		}
	}
	switch {
	case newest == nil:
		return nil, ""
	case matched != nil && matched.Complete:
		return matched, Matched
	case matched != nil:
		return matched, Proved
	case late != nil:
		return late, Late // and no miss of another order's
	case compared != nil && triesLeft(l, compared, g.Channel) > 1:
		return compared, Missed
	case compared != nil && triesLeft(l, compared, other(g.Channel)) > 0:
		return compared, Spent
	case compared != nil:
		return compared, LastMiss
	case barred:
		return newest, Barred
	default:
		return newest, Late
	}
}

// other is the road that a PIN may take besides ch.
func other(ch Channel) Channel {
	if ch == Web {
		return Reply
	}
	return Web
}

// triesLeft counts what a road has left for c's PIN.
func triesLeft(l *Line, c *Conversation, ch Channel) int {
	switch {
	case c.State == Locked:
		return 0 // only a new PIN opens it
	case ch == Web:
		return max(0, WebTries-c.Misses)
	default:
		return max(0, ReplyTries-l.Misses)
	}
}

// charge counts a miss where its road counts.
func charge(l *Line, c *Conversation, ch Channel) {
	if ch == Web {
		c.Misses++
	} else {
		l.Misses++
	}
}

// Live reports that c's PIN may be given at now: issued, not expired, and its
// secret key still there.
func (c *Conversation) Live(now time.Time) bool {
	return c.pin != "" && !c.Serial.Expired(now)
}
