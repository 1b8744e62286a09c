package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	lru "github.com/hashicorp/golang-lru/v2"
)

// Times that the desk and the outbox agree on.
const (
	// Lease is how long a message belongs to who texts it.
	Lease = 15 * time.Second
	// Deadline bounds the POST that texts it: well within the lease.
	Deadline = 8 * time.Second
	// Patience is how long Get PIN waits for Twilio's first answer, by default.
	Patience = 3 * time.Second
)

// Config is what a [Desk] is made of.
type Config struct {
	Ledger  Ledger
	Sender  Sender
	Watcher Watcher
	Keys    *Keyring
	Texts   *Texts
	Rules   Rules
	Log     *slog.Logger
	// Alone says that no other process writes the ledger. A text that has just
	// been written then leaves without another look at the database.
	Alone bool
	// Now is the clock; it may step either way.
	Now func() time.Time
	// Patience is how long Get PIN waits for Twilio's first answer; 0 means
	// [Patience].
	Patience time.Duration
	// Nudge tells the outbox of a message that was written leased to this
	// process, by whom ctx is of. It must not block.
	Nudge func(ctx context.Context, m Message)
}

// Rules are the shop's choices.
type Rules struct {
	Shop      string   // named in every text
	Host      string   // of PUBLIC_URL, for the WebOTP line
	Sender    string   // our number, or the Messaging Service's SID
	Region    string   // that numbers without a country code are read in
	Countries []string // that we text to
	Locale    string   // of the texts
	PINLength int
	PINTTL    time.Duration
	OrderTTL  time.Duration
	Guard     Guard
	// Required are the fields of the order form that must not be empty.
	Required []string
}

// A Desk carries out the conversation: it loads a line, asks [Judge],
// [Machine] and [Guard], saves what follows under the line's version, and
// starts anew if somebody else was faster.
type Desk struct {
	Config
	stripes   [256]chan struct{}
	seed      maphash.Seed
	followers followers
	awaited   awaited
	breakers  breakers

	heard  *lru.Cache[string, Answer] // lately, by MessageSid; it never changes
	lately memory
}

// NewDesk returns a desk. All of c must be set but Alone and Patience.
func NewDesk(c Config) *Desk {
	c.Patience = cmp.Or(c.Patience, Patience)
	d := &Desk{
		Config: c, seed: maphash.MakeSeed(),
		heard: remembering[string, Answer](), lately: memory{sender: c.Rules.Sender, alone: c.Alone},
	}
	for i := range d.stripes {
		d.stripes[i] = make(chan struct{}, 1)
	}
	return d
}

// remembering returns a memory for the last few thousand, of a megabyte or so.
func remembering[K comparable, V any]() *lru.Cache[K, V] {
	c, err := lru.New[K, V](1 << 13)
	if err != nil {
		panic(err) // only for no size at all
	}
	return c
}

// now reads the clock as the ledger will keep it.
func (d *Desk) now() time.Time { return d.Now().UTC().Truncate(time.Millisecond) }

// Follow returns a channel that gets a value whenever this process may have
// changed the order of that id, and a function to call when done.
func (d *Desk) Follow(id uuid.UUID) (<-chan struct{}, func()) { return d.followers.add(id) }

// changeWithin bounds the turns of one change. In one process a line is changed
// by one at a time, so only other machines make a turn stale; but one that has
// the line in its cache is ahead of one that must read it, time and again. With
// the few seconds that a commit may take beyond it, the asker is answered before
// a server's or Twilio's patience of 15 s ends.
const changeWithin = 8 * time.Second

var errBusy = &Error{Code: Unavailable, Message: "We are very busy. Please try again.", RetryAfter: time.Second}

// change runs ask on the lines, and saves what it did to them, as often as it
// takes to do so on lines that nobody else has changed meanwhile. If ask
// returns an error, nothing is saved.
//
// The first turn is on the cached lines. A stale one can lead to no wrong
// change, since Save would refuse it; but where no line is saved, it would not
// be noticed: that nothing follows for them is never decided from the cache.
func (d *Desk) change(ctx context.Context, ch Channel, ask func(*turn) error, ids ...LineID) error {
	waiting, cancel := context.WithTimeout(ctx, changeWithin)
	defer cancel()
	unlock, err := d.lock(waiting, ids)
	if err != nil {
		return away(err)
	}
	defer unlock()
	// From here on the asker may hang up: what is written will be texted.
	end, _ := waiting.Deadline()
	ctx, cancel = context.WithDeadline(context.WithoutCancel(ctx), end)
	defer cancel()

	load, fresh, spent := d.Ledger.Line, false, false
	for ctx.Err() == nil {
		lines, err := d.load(ctx, load, ids)
		if err != nil {
			return err
		}
		t := d.turn(ch, lines)
		t.spent = spent
		refusal := ask(t)
		change := t.written()
		switch {
		case (refusal != nil || len(change.Lines) == 0) && !fresh:
			load, fresh = d.Ledger.Reload, true
			continue
		case refusal != nil:
			d.noteRefusal(ctx, refusal)
			return refusal
		case change.Empty():
			t.tell(ctx)
			return nil
		}
		switch err := d.Ledger.Save(ctx, change); {
		case err == nil:
			t.tell(ctx)
			return nil
		case errors.Is(err, ErrStale):
			if d.lost(ctx, change.Settle) {
				return err // to try again would not bring the lease back
			}
			load, fresh = d.Ledger.Reload, true
		case errors.Is(err, ErrSpent):
			// The same again without the text: what else was asked for holds.
			load, fresh, spent = d.Ledger.Reload, true, true
		default:
			return away(err)
		}
	}
	return errBusy
}

func (d *Desk) load(ctx context.Context, from func(context.Context, LineID) (Line, error), ids []LineID) ([]Line, error) {
	lines := make([]Line, len(ids))
	for i, id := range ids {
		line, err := from(ctx, id)
		if err != nil {
			return nil, away(fmt.Errorf("load line: %w", err))
		}
		d.arm(&line)
		lines[i] = line
	}
	return lines, nil
}

// lost reports whether a message is no longer under the lease that s settles.
func (d *Desk) lost(ctx context.Context, s *Settlement) bool {
	if s == nil {
		return false
	}
	m, err := d.Ledger.Message(ctx, s.Message)
	return err != nil || m.State != Leased || m.Attempt != s.Attempt
}

// arm derives the PINs of l that are not there yet.
func (d *Desk) arm(l *Line) {
	for i := range l.Conversations {
		if c := &l.Conversations[i]; c.pin == "" && c.Serial.N > 0 {
			c.pin, _ = d.Keys.PIN(c.ID, c.Line.Number, c.Serial)
		}
	}
}

// lock makes the changes of a line take turns within this process. It is a
// courtesy to the database: what is right rests on the version alone.
func (d *Desk) lock(ctx context.Context, ids []LineID) (unlock func(), err error) {
	var stripes []int
	for _, id := range ids {
		stripes = append(stripes, int(maphash.Comparable(d.seed, id)%uint64(len(d.stripes)))) //nolint:gosec // below 256
	}
	// In one order for all, or two moves between two lines would wait for each
	// other for ever.
	slices.Sort(stripes)
	stripes = slices.Compact(stripes)
	for i, s := range stripes {
		select {
		case d.stripes[s] <- struct{}{}:
		case <-ctx.Done():
			for _, s := range stripes[:i] {
				<-d.stripes[s]
			}
			return nil, ctx.Err()
		}
	}
	return func() {
		for _, s := range stripes {
			<-d.stripes[s]
		}
	}, nil
}

// noteRefusal counts and logs what the guard refused, once it is what the
// asker is told.
func (d *Desk) noteRefusal(ctx context.Context, err error) {
	var e *Error
	if errors.As(err, &e) && e.Reason != "" {
		d.Watcher.Refused(e.Reason)
		d.Log.InfoContext(ctx, "refused", "reason", e.Reason, "after", e.RetryAfter)
	}
}

// refused tells an asker of a refusal by the guard.
func refused(r Refusal) *Error {
	e := &Error{Code: TooMany, Reason: r.Reason, RetryAfter: r.After}
	switch r.Reason {
	case ReasonSoon:
		e.Message = "The last text is still on its way. Please wait a little before asking for another."
	case ReasonOptOut:
		e.Code, e.Field = Invalid, FieldNumber
		e.Message = "This number has asked us not to text it. Text START to us from it, then try again."
	case ReasonOrders:
		e.Code, e.Field = Conflict, FieldNumber
		e.Message = "Too many orders with this number wait for their PIN. Please finish one of them first."
	case ReasonCountry:
		e.Code, e.Field = Invalid, FieldNumber
		e.Message = "We do not text numbers of that country any more. Use another number."
	case ReasonBreaker:
		e.Code = Unavailable
		e.Message = "We cannot send texts right now. Please try again in a few minutes."
	case ReasonDay:
		e.Code = Unavailable
		e.Message = "We can send no more texts today. Please try again tomorrow."
	default:
		e.Field = FieldNumber
		e.Message = "We have texted this number too often. Please try again later."
	}
	return e
}
