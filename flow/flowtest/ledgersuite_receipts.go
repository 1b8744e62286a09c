package flowtest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/countersign/countersign/flow"
)

// What receipts do.
var receiptPromises = map[string]func(bench){
	"a receipt moves a status up": func(b bench) {
		m := accepted(b)
		for _, status := range []flow.Status{
			flow.StatusAccepted, flow.StatusQueued, flow.StatusSending, flow.StatusSent, flow.StatusDelivered, flow.StatusRead,
		} {
			b.save(receipt(m, status, 0))
			m.Status = status
			b.same(string(status), b.message(m.ID), m)
		}
	},

	"a receipt never moves a status down": func(b bench) {
		m := accepted(b)
		b.save(receipt(m, flow.StatusDelivered, 0))
		m.Status = flow.StatusDelivered
		for _, late := range []flow.Status{
			"", "unheard-of", flow.StatusAccepted, flow.StatusQueued, flow.StatusSending, flow.StatusSent,
			flow.StatusCanceled, flow.StatusFailed, flow.StatusUndelivered, flow.StatusDelivered,
		} {
			b.save(receipt(m, late, 1))
			b.same("after a late "+string(late), b.message(m.ID), m)
		}
	},

	"the statuses end the same in whatever order they come": func(b bench) {
		statuses := []flow.Status{flow.StatusQueued, flow.StatusSent, flow.StatusUndelivered, flow.StatusDelivered, flow.StatusSent}
		for range 20 {
			rand.Shuffle(len(statuses), func(i, j int) { statuses[i], statuses[j] = statuses[j], statuses[i] })
			m := accepted(b)
			for _, status := range statuses {
				b.save(receipt(m, status, 0))
			}
			if is := b.message(m.ID).Status; is != flow.StatusDelivered {
				b.t.Errorf("after %v the status is %q", statuses, is)
			}
		}
	},

	"a receipt before our 201 settles the message": func(b bench) {
		m := fresh(lineID(1), noon)
		b.save(flow.Change{Messages: []flow.Message{m}})
		first := receipt(m, flow.StatusSent, 0)
		first.Receipt.SID = "SM1"
		b.save(first)
		m.State, m.Due, m.SID, m.Status = flow.Accepted, time.Time{}, "SM1", flow.StatusSent
		b.same("message", b.message(m.ID), m)
		b.refuse(flow.Change{Settle: &flow.Settlement{Message: m.ID, Attempt: 1, State: flow.Failed}}, flow.ErrStale)
	},

	"a receipt settles what waits with an unknown outcome": func(b bench) {
		m := fresh(lineID(1), noon)
		m.State, m.Unknown = flow.Waiting, 1
		b.save(flow.Change{Messages: []flow.Message{m}})
		b.save(receipt(m, flow.StatusFailed, 30007))
		m.State, m.Unknown, m.Due, m.Status, m.Code = flow.Accepted, 0, time.Time{}, flow.StatusFailed, 30007
		b.same("message", b.message(m.ID), m)
	},

	"a receipt settles nothing else": func(b bench) {
		for _, state := range []flow.MessageState{flow.Waiting, flow.Failed, flow.Dropped} {
			m := fresh(lineID(1), noon)
			m.State = state
			b.save(flow.Change{Messages: []flow.Message{m}})
			b.save(receipt(m, flow.StatusSent, 0))
			m.Status = flow.StatusSent
			b.same(string(state), b.message(m.ID), m)
		}
	},

	"a receipt tells the sid that we do not know, and changes none": func(b bench) {
		m := accepted(b)
		other := receipt(m, flow.StatusSent, 0)
		other.Receipt.SID = "SM2"
		b.save(other)
		m.Status = flow.StatusSent
		b.same("message", b.message(m.ID), m)
	},

	"a receipt of an unknown message is taken, and again": func(b bench) {
		for range 2 {
			b.save(receipt(flow.Message{ID: NewID(noon), SID: "SM1"}, flow.StatusSent, 0))
			b.save(receipt(flow.Message{SID: "SM1"}, flow.StatusSent, 0))
		}
	},

	"a settlement and a receipt in one change leave both": func(b bench) {
		m := fresh(lineID(1), noon)
		b.save(flow.Change{Messages: []flow.Message{m}})
		ch := receipt(m, flow.StatusUndelivered, 30003)
		ch.Settle = &flow.Settlement{Message: m.ID, Attempt: 1, State: flow.Accepted, SID: "SM1"}
		b.save(ch)
		m.State, m.Due, m.SID, m.Status, m.Code = flow.Accepted, time.Time{}, "SM1", flow.StatusUndelivered, 30003
		b.same("message", b.message(m.ID), m)
	},
}

// accepted saves a message that Twilio has taken.
func accepted(b bench) flow.Message {
	b.t.Helper()
	m := fresh(lineID(1), noon)
	m.State, m.Due, m.SID = flow.Accepted, time.Time{}, fmt.Sprintf("SM%032x", rand.Uint64())
	b.save(flow.Change{Messages: []flow.Message{m}})
	return m
}

// receipt is the change that a receipt for m asks for.
func receipt(m flow.Message, status flow.Status, code int) flow.Change {
	return flow.Change{Receipt: &flow.Receipt{Message: m.ID, SID: m.SID, Status: status, Code: code, At: noon.Add(time.Second)}}
}
