package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // pgx, for database/sql

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/internal/pgtest"
)

// A soaking is how long and hard a service is soaked.
type soaking struct {
	cycles    int // kills
	customers int
}

// soakFor is the long run if there is time for it. SOAK_KILLS says for how many
// kills there is.
func soakFor(t *testing.T, short, long soaking) soaking {
	if os.Getenv("COUNTERSIGN_SOAK") == "" {
		return short
	}
	if kills := os.Getenv("SOAK_KILLS"); kills != "" {
		var err error
		if long.cycles, err = strconv.Atoi(kills); err != nil {
			t.Fatalf("SOAK_KILLS: %v", err)
		}
	}
	return long
}

// TestSoakSQLite kills the service over and over while Twilio is at its worst
// and customers order and answer, and then counts: nothing may be lost, and
// nothing doubled. What it cannot tell at once it tells in the end, from what
// the booth and the customers saw and what the database holds.
func TestSoakSQLite(t *testing.T) {
	t.Parallel()
	soak(t, newTown(t, "", 1), soakFor(t, soaking{15, 8}, soaking{1000, 12}))
}

// TestSoakPostgres is the same with two processes on one database, which are
// killed in turn. Customers and Twilio come to either.
func TestSoakPostgres(t *testing.T) {
	t.Parallel()
	soak(t, newTown(t, pgtest.Shared(t).URL(t), 2), soakFor(t, soaking{6, 6}, soaking{300, 12}))
}

// twiliosWorst are the faults of a soak.
func twiliosWorst() []map[string]any {
	var all []map[string]any
	for _, kind := range []string{
		"hang-after-accept", "reset-after-accept", "reset-before-accept", "500", "500-after-accept", "429", "302", "html",
		"receipts-delay", "receipts-double", "receipts-shuffle", "receipts-drop", "webhook-double",
	} {
		all = append(all, map[string]any{"kind": kind, "probability": 0.1})
	}
	return append(all,
		map[string]any{"kind": "slow-body", "probability": 0.1, "delay": "5ms"},
		map[string]any{"kind": "500", "on": "read", "probability": 0.1},
		map[string]any{"kind": "slow-body", "on": "read", "probability": 0.1, "delay": "1ms"},
	)
}

// soak soaks the service of w.
func soak(t *testing.T, w *town, s soaking) {
	seed := rand.Uint64()
	dice := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	if err := w.faults(seed, twiliosWorst()); err != nil {
		t.Fatal(err)
	}
	for _, srv := range w.servers {
		if err := srv.start(""); err != nil {
			t.Fatal(err)
		}
	}

	day, closing := context.WithCancel(t.Context())
	var customers sync.WaitGroup
	for n := range s.customers {
		c := &customer{town: w, dice: rand.New(rand.NewPCG(seed, uint64(n)+1))}
		customers.Go(func() { c.live(day) })
	}
	reached := map[string]int{}
	began := time.Now()
	for cycle := range s.cycles {
		srv := w.servers[cycle%len(w.servers)]
		if err := w.cycle(srv, dice, reached); err != nil {
			t.Fatalf("after %d kills: %v", cycle, err)
		}
	}
	killing := time.Since(began)
	// All are up again and die no more; Twilio gets well, and the shop closes.
	for _, srv := range w.servers {
		if err := srv.kill(); err != nil {
			t.Fatal(err)
		}
		if err := srv.start(""); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.mend(); err != nil {
		t.Fatal(err)
	}
	recovered := time.Now()
	closing()
	customers.Wait()

	if err := w.settled(); err != nil {
		t.Errorf("texts are still on their way: %v", err)
	}
	took := time.Since(recovered)
	if err := w.waiting(); err != nil {
		t.Fatal(err)
	}
	if err := w.finish(); err != nil {
		t.Errorf("not all orders end: %v", err)
	}
	w.book.counts["MB of write-ahead log before the last stop"] = w.walMB(t)
	w.audited(t)
	w.book.counts["kills"] = s.cycles
	w.book.counts["seconds of killing"] = int(killing.Seconds())
	w.book.counts["seconds until all was settled"] = int(took.Seconds())
	for point, n := range reached {
		w.book.counts["died at "+point] = n
	}
	t.Log(w.book.report())
	w.book.assert(t)
	if s.cycles >= 10*len(failpoints) {
		for _, point := range failpoints {
			if reached[point] == 0 {
				t.Errorf("nobody died at %s", point)
			}
		}
	}
}

// walMB is how much a SQLite database's write-ahead log has grown to, in MB. It is
// to be copied and begun anew, however seldom a process lives to do it.
func (w *town) walMB(t *testing.T) int {
	t.Helper()
	const most = 64 // and a little, since a log is begun anew only when it is longer
	path, isFile := strings.CutPrefix(w.set["DATABASE_URL"], "file:")
	if !isFile {
		return 0
	}
	info, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	mb := int(info.Size() >> 20)
	if mb > most+most/4 {
		t.Errorf("the write-ahead log has grown to %d MB", mb)
	}
	return mb
}

// audited stops the service, and has its books checked.
func (w *town) audited(t *testing.T) {
	t.Helper()
	for _, srv := range w.servers {
		if err := srv.proc.end(os.Interrupt); err != nil {
			t.Errorf("the service ended badly: %v", err)
		}
	}
	a, err := newAudit(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	if err := a.check(); err != nil {
		t.Fatal(err)
	}
	if err := sound(t.Context(), w.set["DATABASE_URL"], a.db); err != nil {
		t.Errorf("the database is not sound: %v", err)
	}
}

// TestDyingAtEachPoint kills the service once at each failpoint, while one
// customer orders, mistypes and confirms: whatever it died of doing is done,
// once.
func TestDyingAtEachPoint(t *testing.T) {
	t.Parallel()
	w := newTown(t, "", 1)
	srv := w.servers[0]
	c := &customer{town: w, dice: rand.New(rand.NewPCG(1, 1))}
	for _, point := range failpoints {
		if err := srv.start(point + "#1"); err != nil {
			t.Fatalf("%s: %v", point, err)
		}
		var faults []map[string]any
		if point == "after:take" { // a text that is tried again is taken
			faults = append(faults, map[string]any{"kind": "429", "count": 1})
		}
		if !strings.HasSuffix(point, "receipt") { // which may settle a text first
			faults = append(faults, map[string]any{"kind": "receipts-drop"})
		}
		if err := w.faults(1, faults); err != nil {
			t.Fatal(err)
		}
		again := make(chan error)
		go func() { again <- srv.reincarnate() }()

		c.open = nil
		c.shopFor(t.Context())
		if len(c.open) != 1 {
			t.Fatalf("%s: the order is refused", point)
		}
		e := c.open[0]
		var pin string
		if err := until(t.Context(), func() (ok bool, err error) {
			pin, err = c.latestPIN(e)
			return pin != "", err
		}); err != nil {
			t.Errorf("%s: no PIN is texted: %v", point, err)
		}
		c.say(e, "my pin is "+c.wrong(pin))
		c.typed(e, c.wrong(pin))
		c.typed(e, pin)
		if err := <-again; err != nil {
			t.Fatalf("%s: %v", point, err)
		}
		if !e.ended {
			t.Errorf("%s: the order is not confirmed", point)
		}
		if err := w.settled(); err != nil {
			t.Errorf("%s: its text is not settled: %v", point, err)
		}
		texts, err := w.record(e.number)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(slices.DeleteFunc(texts, func(t boothText) bool { return t.Direction != "outbound-api" })); n != 1 {
			t.Errorf("%s: the PIN was texted %d times", point, n)
		}
		if err := errors.Join(srv.kill(), w.mend()); err != nil {
			t.Fatal(err)
		}
	}
	if err := srv.start(""); err != nil {
		t.Fatal(err)
	}
	if err := w.finish(); err != nil { // an order whose customer was not told of it
		t.Error(err)
	}
	w.audited(t)
	w.book.assert(t)
}

// reincarnate waits for s to die, starts it again, and lets the leases of its
// former life run out.
func (s *server) reincarnate() error {
	select {
	case <-s.proc.done:
		if !s.killed() {
			return fmt.Errorf("it ended by itself: %w", s.proc.err)
		}
	case <-time.After(patience):
		return fmt.Errorf("nobody came by: %w", errPatience)
	}
	if err := s.kill(); err != nil {
		return err
	}
	if err := s.start(""); err != nil {
		return err
	}
	return s.pass(flow.Lease + time.Second)
}

// cycle lets the service live for a while, kills it at any moment, or lets it
// die at the failpoint that it was started with, and starts it again, half the
// time with a failpoint: the one that was reached least.
func (w *town) cycle(s *server, dice *rand.Rand, reached map[string]int) error {
	lives := time.Duration(100+dice.IntN(1200)) * time.Millisecond
	if s.failpoint != "" {
		lives += 2 * time.Second // for somebody to come by there
	}
	select {
	case <-s.proc.done:
		if s.failpoint == "" || !s.killed() {
			return fmt.Errorf("it ended by itself: %w", s.proc.err)
		}
		reached[s.failpoint]++
	case <-time.After(lives):
	}
	if err := s.kill(); err != nil {
		return err
	}
	s.failpoint = ""
	if dice.IntN(2) == 0 {
		s.failpoint = slices.MinFunc(failpoints, func(a, b string) int { return reached[a] - reached[b] })
		return s.start(fmt.Sprintf("%s#%d", s.failpoint, 1+dice.IntN(3)))
	}
	return s.start("")
}

// settled waits until no text is to be sent.
func (w *town) settled() error {
	return w.until(`SELECT count(*) FROM messages WHERE state IN ('leased', 'waiting')`)
}

// delivered waits until the last receipt of every text has come, where none is
// lost.
func (w *town) delivered() error {
	return w.until(`SELECT count(*) FROM messages WHERE status <> 'delivered'`)
}

// until waits for a count to become 0.
func (w *town) until(count string) error {
	db, err := openRows(w.set["DATABASE_URL"])
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return until(w.ctx, func() (bool, error) {
		var n int
		err := db.QueryRowContext(w.ctx, count).Scan(&n)
		return n == 0, err
	})
}

// An opened order is one that has not ended.
type opened struct {
	id, number, reference, state, message string
	proved                                bool
}

// unended lists the orders that have not ended.
func (w *town) unended(db *sql.DB) ([]opened, error) {
	return listed(w.ctx, db, `SELECT c.id, c.number, c.reference, c.state, coalesce(m.state, ''), c.proved IS NOT NULL
		FROM conversations c LEFT JOIN messages m ON m.id = c.message
		WHERE c.state IN ('asked', 'locked', 'unreachable')`,
		func(rows *sql.Rows) (o opened, err error) {
			var id any
			err = rows.Scan(&id, &o.number, &o.reference, &o.state, &o.message, &o.proved)
			o.id = fmt.Sprintf("%x", id)
			return o, err
		})
}

// waiting makes sure that each order that waits for its PIN was texted it.
func (w *town) waiting() error {
	db, err := openRows(w.set["DATABASE_URL"])
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	orders, err := w.unended(db)
	if err != nil {
		return err
	}
	for _, o := range orders {
		w.book.count("orders open when the shop closed: "+o.state, 1)
		if o.state != string(flow.Asked) || o.proved {
			continue
		}
		if o.message != string(flow.Accepted) {
			w.book.breach(notTexted, "order %s is asked, and its text %s", o.id, o.message)
			continue
		}
		texts, err := w.record(o.number)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(texts, func(t boothText) bool {
			return t.Direction == "outbound-api" && strings.Contains(t.Body, o.reference)
		}) {
			w.book.breach(notTexted, "order %s is asked, and Twilio knows of no text", o.id)
		}
	}
	return nil
}

// finish has customers answer until all orders have ended: with the PIN that
// was texted last; or else, with NO.
func (w *town) finish() error {
	db, err := openRows(w.set["DATABASE_URL"])
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	c := &customer{town: w, dice: rand.New(rand.NewPCG(0, 0))}
	for _, decline := range []bool{false, true} {
		orders, err := w.unended(db)
		if err != nil {
			return err
		}
		for _, o := range orders {
			e := &errand{number: o.number, ref: o.reference}
			pin, err := c.latestPIN(e)
			if err != nil {
				return err
			}
			switch {
			case decline:
				c.understand(c.hear(o.number, "NO "+o.reference))
			case pin != "" && o.state != string(flow.Locked):
				c.understand(c.hear(o.number, pin))
			}
		}
	}
	return nil
}

// sound asks the database itself, if it is a file.
func sound(ctx context.Context, url string, db *sql.DB) error {
	if !strings.HasPrefix(url, "file:") {
		return nil
	}
	var says string
	if err := db.QueryRowContext(ctx, `PRAGMA integrity_check`).Scan(&says); err != nil {
		return err
	}
	if says != "ok" {
		return errors.New(says)
	}
	return nil
}

// openRows opens a database to look into it, beside the service.
func openRows(url string) (*sql.DB, error) {
	if strings.HasPrefix(url, "postgres:") {
		return sql.Open("pgx", url)
	}
	return sql.Open("sqlite", url+"?mode=ro&_pragma=busy_timeout(5000)")
}

// report tells what was seen, a line each.
func (b *book) report() string {
	var out strings.Builder
	out.WriteString("\n")
	for _, what := range slices.Sorted(maps.Keys(b.counts)) {
		fmt.Fprintf(&out, "  %7d %s\n", b.counts[what], what)
	}
	out.WriteString("  promises:\n")
	for _, p := range promises {
		fmt.Fprintf(&out, "  %7d %s\n", len(b.breaches[p]), p)
	}
	return out.String()
}

// assert fails t for each promise that was broken.
func (b *book) assert(t *testing.T) {
	t.Helper()
	for _, p := range promises {
		for i, breach := range b.breaches[p] {
			if i == 20 {
				t.Errorf("%s: and %d more", p, len(b.breaches[p])-i)
				break
			}
			t.Errorf("%s: %s", p, breach)
		}
	}
}

// xmlEscaped is text as it stands in XML.
func xmlEscaped(text string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(text)) // into memory
	return b.String()
}
