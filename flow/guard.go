package flow

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Reason is why the guard refused a text.
type Reason string

// The reasons.
const (
	ReasonNumber  Reason = "number"    // TEXTS_PER_NUMBER
	ReasonSerials Reason = "serials"   // too many new PINs on this line today
	ReasonDay     Reason = "day"       // TEXTS_PER_DAY
	ReasonIP      Reason = "ip"        // REQUESTS_PER_IP
	ReasonCountry Reason = "country"   // not in COUNTRIES
	ReasonOptOut  Reason = "opted_out" // the customer told us to stop
	ReasonSoon    Reason = "soon"      // the last text is too recent
	ReasonOrders  Reason = "orders"    // too many open orders on this line
	ReasonAnswers Reason = "answers"   // too many TwiML answers to this line today
	ReasonBreaker Reason = "breaker"   // Twilio refuses all our texts, or all to this country
)

// Reasons are all of them.
var Reasons = []Reason{
	ReasonNumber, ReasonSerials, ReasonDay, ReasonIP, ReasonCountry,
	ReasonOptOut, ReasonSoon, ReasonOrders, ReasonAnswers, ReasonBreaker,
}

// A Rate is so many in any span of that length. It reads and prints as in the
// settings: 5/24h.
type Rate struct {
	N   int
	Per time.Duration
}

// UnmarshalText reads N/duration.
func (r *Rate) UnmarshalText(text []byte) error {
	n, per, ok := strings.Cut(string(text), "/")
	if !ok {
		return fmt.Errorf("%q is no rate; write a number, a slash and a duration, such as 5/24h", text)
	}
	count, err := strconv.Atoi(n)
	if err != nil || count < 1 || count > 10_000 {
		return fmt.Errorf("%q is no rate; before the slash goes a number from 1 to 10000, such as 5/24h", text)
	}
	span, err := time.ParseDuration(per)
	if err != nil || span < time.Second {
		return fmt.Errorf("%q is no rate; after the slash goes a duration of at least 1s, such as 5/24h", text)
	}
	*r = Rate{count, span}
	return nil
}

func (r Rate) String() string { return fmt.Sprintf("%d/%s", r.N, r.Per) }

// What the guard holds to besides its settings.
const (
	// ResendWait is how long a PIN's text is given to arrive before it may be
	// texted again.
	ResendWait = 30 * time.Second
	// SerialsPerDay bounds the PINs that can be guessed at on one line in 24
	// hours. The odds that this leaves are printed by countersign doctor.
	SerialsPerDay = 10
	// OpenOrders bounds the PINs that one reply is compared with.
	OpenOrders = 5
	// AnswersPerDay bounds TwiML answers to one line in 24 hours: then silence.
	AnswersPerDay = 10
)

const day = 24 * time.Hour

// A Guard decides what may be spent, from what is loaded with the line. What
// it lets pass is saved with the text. Totals that all lines share are checked
// by [Ledger.Save].
type Guard struct {
	PerNumber Rate // TEXTS_PER_NUMBER
	PerDay    int  // TEXTS_PER_DAY
}

// A Refusal is why not, and when to ask again; the zero Refusal lets pass.
type Refusal struct {
	Reason Reason
	After  time.Duration
}

// Text decides whether a PIN may be texted on line l for c, which is nil for
// an order that is new to the line; serial reports that it would be a new PIN.
func (g Guard) Text(l *Line, c *Conversation, serial bool, now time.Time) Refusal {
	if c == nil && len(l.Open()) >= OpenOrders {
		return Refusal{Reason: ReasonOrders}
	}
	if !l.OptedOut.IsZero() {
		return Refusal{Reason: ReasonOptOut}
	}
	// A new PIN needs no wait: the one before is no more good.
	if c != nil && !serial {
		if wait := resendAfter(c, now); wait > 0 {
			return Refusal{ReasonSoon, wait}
		}
	}
	if wait := full(l.Texts, g.PerNumber, now); wait > 0 {
		return Refusal{ReasonNumber, wait}
	}
	if serial {
		if wait := full(l.Serials, Rate{SerialsPerDay, day}, now); wait > 0 {
			return Refusal{ReasonSerials, wait}
		}
	}
	return Refusal{}
}

// Answer decides whether a reply may be answered by TwiML.
func (g Guard) Answer(l *Line, now time.Time) Refusal {
	if wait := full(l.Answers, Rate{AnswersPerDay, day}, now); wait > 0 {
		return Refusal{ReasonAnswers, wait}
	}
	return Refusal{}
}

// Spend is what a text takes from the totals that all lines share.
func (g Guard) Spend(now time.Time) Spend {
	return Spend{Total: "texts/" + now.UTC().Format(time.DateOnly), N: 1, Limit: g.PerDay}
}

// full returns how long until another fits under r; 0 if it fits now.
func full(recent Recent, r Rate, now time.Time) time.Duration {
	n := recent.Since(now.Add(-r.Per))
	if n < r.N {
		return 0
	}
	// The oldest that must go before another fits.
	return recent[len(recent)-r.N].Add(r.Per).Sub(now)
}

// resendAfter is how long c's text is still given to arrive.
func resendAfter(c *Conversation, now time.Time) time.Duration {
	// An unreachable order's text is known not to arrive.
	if c.Texted.IsZero() || c.State == Unreachable {
		return 0
	}
	wait := c.Texted.Add(ResendWait).Sub(now)
	if wait > ResendWait {
		return 0 // the clock was set back: when it was texted cannot be told
	}
	return max(0, wait)
}

// tomorrow is how long until the totals begin anew.
func tomorrow(now time.Time) time.Duration {
	return now.UTC().Truncate(day).Add(day).Sub(now)
}
