package flow

import "time"

// A Watcher is told what happens, for metrics. Its methods are called after
// the commit, must not block, and get only our own constants and countries.
type Watcher interface {
	// Issued: a new serial's PIN was written to be texted, asked for by ch.
	Issued(ch Channel)
	// Checked: a PIN was given by ch, with that result.
	Checked(ch Channel, result Event)
	// Entered: an order entered state.
	Entered(state State)
	// Ended: an order ended; after its first text, as a confirmation by ch or
	// otherwise.
	Ended(country string, state State, ch Channel, took time.Duration)
	// Refused: the guard refused a text.
	Refused(reason Reason)
	// Answered: a TwiML answer was written.
	Answered(kind Saying)
	// Texted: a text met Twilio (or was dropped), which took that long; err is
	// nil if it was taken.
	Texted(kind Saying, state MessageState, segments int, country string, took time.Duration)
	// TextFailed: an error of that class, and what was done about it.
	TextFailed(class Class, action Action)
	// BreakerOpen: new texts are held back, or no longer.
	BreakerOpen(open bool)
	// Received: a receipt moved a text to status, that long after it was written.
	Received(status Status, took time.Duration)
}

// Action is what is done about a failed text.
type Action string

// The actions.
const (
	ActionRetry       Action = "retry"
	ActionReconcile   Action = "reconcile"
	ActionUnreachable Action = "unreachable"
	ActionOptOut      Action = "opt_out"
	ActionDrop        Action = "drop"
	ActionHold        Action = "hold" // this and all others, until it is mended
)

// Actions are all of them.
var Actions = []Action{ActionRetry, ActionReconcile, ActionUnreachable, ActionOptOut, ActionDrop, ActionHold}

// Channel is the road a PIN came by, or was asked for.
type Channel string

// The channels.
const (
	Web   Channel = "web"
	Reply Channel = "reply"
	Ops   Channel = "ops"    // by hand
	Self  Channel = "system" // by the clock, or by Twilio
)

// Channels are all of them.
var Channels = []Channel{Web, Reply, Ops, Self}
