package flow

import (
	"errors"
	"time"
)

// Why there is nothing to text now; the message was settled.
var (
	// ErrDropped reports that it is no longer worth sending: it is [Dropped].
	ErrDropped = errors.New("not worth texting any more")
	// ErrPutOff reports that no text may leave: it is [Waiting].
	ErrPutOff = errors.New("no text may leave now")
)

// Sent is what became of one try to text a message.
type Sent struct {
	// SID is Twilio's, if Err is nil.
	SID string
	// Adopted reports that SID was found by looking, not answered to our POST:
	// it may turn out to be another message's.
	Adopted bool
	// Err is why the text was not taken, or may not have been: a [*SendError].
	Err error
	// Began is when the first POST that may have reached Twilio began: this
	// one, unless an earlier one's outcome is still open. A later look for the
	// text starts there.
	Began time.Time
	// Posted reports that the text was handed to Twilio, in vain or not; else it
	// was only looked for.
	Posted bool
	// Lost reports that a look did not find what was handed over as often as is
	// allowed, see [MaxUnknown].
	Lost bool
	// Took is how long Twilio took to answer; 0 if it was not asked to send.
	Took time.Duration
	// Segments is what the text is billed as.
	Segments int
}

// Final reports whether the text is not tried again: Twilio has it, or refused
// it for good, or it is given up.
func (s Sent) Final() bool {
	if s.Err == nil {
		return true
	}
	settle, _ := settlement(Message{Attempt: 1}, s, s.failure(), time.Time{})
	return settle.State == Failed
}

// failure is Err as what it is.
func (s Sent) failure() *SendError {
	var failed *SendError
	if !errors.As(s.Err, &failed) {
		failed = &SendError{Class: ClassUnknown, Err: s.Err}
	}
	return failed
}
