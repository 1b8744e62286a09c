package metrics

import (
	"slices"
	"time"

	"github.com/countersign/countersign/flow"
)

// answered is the outcome of a text that went out as TwiML: Twilio does not
// tell us how it fared. The others are those that a message can be settled as.
const answered flow.MessageState = "answered"

// posted are the texts that leave by the outbox.
func posted() []flow.Saying {
	return slices.DeleteFunc(slices.Clone(flow.Sayings), func(s flow.Saying) bool {
		return slices.Contains(flow.Answers, s)
	})
}

// final are the states in which an order has ended.
func final() []flow.State {
	return slices.DeleteFunc(slices.Clone(flow.States), flow.State.Open)
}

// seconds is took as a histogram takes it. The clock may have stepped back in
// between, and a histogram's sum must not.
func seconds(took time.Duration) float64 { return max(0, took.Seconds()) }

func (m *Metrics) country(c string) string {
	if slices.Contains(m.countries, c) {
		return c
	}
	return elsewhere
}

// Issued counts PINs by the road that asked for them.
func (m *Metrics) Issued(ch flow.Channel) { m.issued.at(string(ch)).Inc() }

// Checked counts the PINs that were given, by how they were judged.
func (m *Metrics) Checked(ch flow.Channel, result flow.Event) {
	m.checks.at(string(ch), string(result)).Inc()
}

// Entered counts orders into a state.
func (m *Metrics) Entered(state flow.State) { m.entered.at(string(state)).Inc() }

// Ended counts orders out of the open ones, and times confirmations.
func (m *Metrics) Ended(country string, state flow.State, ch flow.Channel, took time.Duration) {
	m.ended.at(m.country(country), string(state)).Inc()
	if state == flow.Confirmed {
		m.confirmed.at(string(ch)).Observe(seconds(took))
	}
}

// Refused counts the texts that the guard refused.
func (m *Metrics) Refused(reason flow.Reason) { m.refusals.at(string(reason)).Inc() }

// Answered counts TwiML answers. Neither their segments nor their price is
// known here: both are of the texts that leave by the outbox.
func (m *Metrics) Answered(kind flow.Saying) { m.texts.at(string(kind), string(answered)).Inc() }

// Texted counts a try to text by its outcome; only what Twilio accepted is
// timed and billed. A text still leased, whose outcome nobody knows yet, is
// one that waits.
func (m *Metrics) Texted(kind flow.Saying, state flow.MessageState, segments int, country string, took time.Duration) {
	if state == flow.Leased {
		state = flow.Waiting
	}
	m.texts.at(string(kind), string(state)).Inc()
	if state != flow.Accepted {
		return
	}
	country = m.country(country)
	billed := float64(max(segments, 0)) // a counter panics when it is to fall
	m.segments.at(country).Add(billed)
	m.spend.at(country).Add(billed * m.price(country))
	if took > 0 { // else it was found, not posted
		m.accepting.Observe(seconds(took))
	}
}

// TextFailed counts errors of sending and of receipts, by what they mean.
func (m *Metrics) TextFailed(class flow.Class, action flow.Action) {
	m.errors.at(string(class), string(action)).Inc()
}

// Received counts receipts that brought news, and times deliveries.
func (m *Metrics) Received(status flow.Status, took time.Duration) {
	m.receipts.at(string(status)).Inc()
	if status == flow.StatusDelivered {
		m.delivery.Observe(seconds(took))
	}
}

// BreakerOpen tells whether new texts are held back.
func (m *Metrics) BreakerOpen(open bool) {
	if open {
		m.breaker.Set(1)
	} else {
		m.breaker.Set(0)
	}
}
