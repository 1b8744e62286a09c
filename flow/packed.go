package flow

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"
)

// A Packed line takes a third of the memory that a [Line] does, and one piece of
// it, so that a hundred thousand of them weigh little on a small machine and on
// its garbage collector. It is for a cache in memory and nothing else: it holds
// the PINs that were derived already, in clear, and its form may change with
// every build.
type Packed string

// Pack packs l. Of times, whole milliseconds are kept, as a ledger does.
func (l *Line) Pack() Packed {
	p := make(packer, 0, 64+256*len(l.Conversations))
	p.number(l.Version)
	p.text(string(l.Number))
	p.text(l.Sender)
	p.text(l.country)
	p.time(l.OptedOut)
	p.number(int64(l.Misses))
	p.number(int64(l.Hints))
	for _, recent := range []Recent{l.Texts, l.Serials, l.Answers} {
		p.number(int64(len(recent)))
		for _, at := range recent {
			p.time(at)
		}
	}
	p = append(p, l.Topic[:]...)
	p.number(int64(len(l.Conversations)))
	for i := range l.Conversations {
		p.conversation(&l.Conversations[i], l.LineID)
	}
	return Packed(p)
}

// Version is the line's, without unpacking all of it.
func (p Packed) Version() int64 {
	u := unpacker(p)
	return u.number()
}

// Unpack returns the line. Its texts share p's memory.
func (p Packed) Unpack() Line {
	u := unpacker(p)
	var l Line
	l.Version = u.number()
	l.Number, l.Sender, l.country = Number(u.text()), u.text(), u.text()
	l.OptedOut = u.time()
	l.Misses, l.Hints = int(u.number()), int(u.number())
	for _, recent := range []*Recent{&l.Texts, &l.Serials, &l.Answers} {
		if n := u.number(); n > 0 {
			*recent = make(Recent, n)
			for i := range *recent {
				(*recent)[i] = u.time()
			}
		}
	}
	u.id((*[16]byte)(&l.Topic))
	if n := u.number(); n > 0 {
		l.Conversations = make([]Conversation, n)
		for i := range l.Conversations {
			l.Conversations[i] = u.conversation(l.LineID)
		}
	}
	return l
}

// Format hides what p holds from every verb of fmt.
func (p Packed) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[a line]") }

type packer []byte

func (p *packer) number(n int64) { *p = binary.AppendVarint(*p, n) }

func (p *packer) truth(is bool) {
	n := int64(0)
	if is {
		n = 1
	}
	p.number(n)
}

func (p *packer) text(s string) {
	*p = binary.AppendUvarint(*p, uint64(len(s)))
	*p = append(*p, s...)
}

func (p *packer) time(t time.Time) {
	ms := int64(math.MinInt64) // for never
	if !t.IsZero() {
		ms = t.UnixMilli()
	}
	*p = binary.BigEndian.AppendUint64(*p, uint64(ms)) //nolint:gosec // back again by time
}

func (p *packer) named(n Named) {
	p.text(n.Reference)
	p.text(n.Amount)
}

func (p *packer) conversation(c *Conversation, on LineID) {
	elsewhere := c.Line != on // a topic may have moved since
	p.truth(elsewhere)
	if elsewhere {
		p.text(string(c.Line.Number))
		p.text(c.Line.Sender)
	}
	*p = append(*p, c.ID[:]...)
	*p = append(*p, c.Browser[:]...)
	*p = append(*p, c.Message[:]...)
	p.text(string(c.State))
	p.named(c.Named)
	p.number(int64(len(c.Entries)))
	for _, e := range c.Entries {
		p.text(e.Field)
		p.text(e.Value)
	}
	p.truth(c.Complete)
	p.number(c.Serial.N)
	p.text(c.Serial.Key)
	p.number(int64(c.Serial.Length))
	p.named(c.Serial.Named)
	p.number(int64(c.Misses))
	p.text(string(c.Failure))
	for _, t := range []time.Time{c.Proved, c.Serial.Expires, c.Texted, c.Created, c.Deadline, c.Ended} {
		p.time(t)
	}
	p.text(string(c.pin))
}

// An unpacker is what is left of a packed line.
type unpacker string

func (u *unpacker) number() int64 {
	var n uint64
	for i := 0; ; i++ {
		b := (*u)[i]
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			*u = (*u)[i+1:]
			return int64(n>>1) ^ -int64(n&1) //nolint:gosec // zigzag, as encoding/binary has it
		}
	}
}

func (u *unpacker) truth() bool { return u.number() == 1 }

func (u *unpacker) take(n int) string {
	s := (*u)[:n]
	*u = (*u)[n:]
	return string(s)
}

func (u *unpacker) text() string {
	n, i := 0, 0
	for ; (*u)[i] >= 0x80; i++ {
		n |= int((*u)[i]&0x7f) << (7 * i)
	}
	n |= int((*u)[i]) << (7 * i)
	*u = (*u)[i+1:]
	return u.take(n)
}

func (u *unpacker) time() time.Time {
	var ms uint64
	for _, b := range []byte(u.take(8)) {
		ms = ms<<8 | uint64(b)
	}
	if int64(ms) == math.MinInt64 { //nolint:gosec // as packed
		return time.Time{}
	}
	return time.UnixMilli(int64(ms)).UTC() //nolint:gosec // as packed
}

func (u *unpacker) id(to *[16]byte) { copy(to[:], u.take(len(to))) }

func (u *unpacker) named() Named { return Named{u.text(), u.text()} }

func (u *unpacker) conversation(line LineID) Conversation {
	c := Conversation{Line: line}
	if u.truth() {
		c.Line = LineID{Number(u.text()), u.text()}
	}
	u.id((*[16]byte)(&c.ID))
	u.id((*[16]byte)(&c.Browser))
	u.id((*[16]byte)(&c.Message))
	c.State = State(u.text())
	c.Named = u.named()
	if n := u.number(); n > 0 {
		c.Entries = make([]Entry, n)
		for i := range c.Entries {
			c.Entries[i] = Entry{u.text(), u.text()}
		}
	}
	c.Complete = u.truth()
	c.Serial.N = u.number()
	c.Serial.Key = u.text()
	c.Serial.Length = int(u.number())
	c.Serial.Named = u.named()
	c.Misses = int(u.number())
	c.Failure = Class(u.text())
	for _, t := range []*time.Time{&c.Proved, &c.Serial.Expires, &c.Texted, &c.Created, &c.Deadline, &c.Ended} {
		*t = u.time()
	}
	c.pin = PIN(u.text())
	return c
}
