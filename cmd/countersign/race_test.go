package main

import (
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/internal/pgtest"
)

// TestTwoProcessesConfirmOnce gives each order's PIN by both roads in the same
// instant, on the page of one process and by a reply to the other, both on one
// PostgreSQL: it confirms once, and both roads are told so.
func TestTwoProcessesConfirmOnce(t *testing.T) {
	t.Parallel()
	races, customers := int64(48), 8
	if os.Getenv("COUNTERSIGN_SOAK") != "" {
		races, customers = 10_000, 16
	}
	w := newTown(t, pgtest.Shared(t).URL(t), 2)
	for _, srv := range w.servers {
		if err := srv.start(""); err != nil {
			t.Fatal(err)
		}
	}
	page := w.servers[0]
	w.front.shut(page.addr) // Twilio finds the other

	var begun atomic.Int64
	var racing sync.WaitGroup
	for n := range customers {
		c := &customer{town: w, page: "http://" + page.addr, dice: rand.New(rand.NewPCG(0, uint64(n)))} //nolint:gosec // a handful
		racing.Go(func() {
			for begun.Add(1) <= races {
				c.race(t)
			}
		})
	}
	racing.Wait()
	w.audited(t)
	w.book.counts["races"] = int(races)
	t.Log(w.book.report())
	w.book.assert(t)
	if got := w.book.counts["orders confirmed"]; got != int(races) {
		t.Errorf("%d of %d orders are confirmed", got, races)
	}
	byPage, byReply := w.book.counts["confirmed by web"], w.book.counts["confirmed by reply"]
	if byPage+byReply != int(races) || races >= 1000 && min(byPage, byReply) == 0 {
		t.Errorf("%d confirmations on the page and %d by reply: that is no race of %d", byPage, byReply, races)
	}
}

// race orders, and brings the PIN by both roads in the same instant.
func (c *customer) race(t *testing.T) {
	c.open = nil
	c.shopFor(t.Context())
	if len(c.open) != 1 {
		t.Error("an order was refused")
		return
	}
	e, pin := c.open[0], ""
	if err := until(t.Context(), func() (ok bool, err error) {
		pin, err = c.latestPIN(e)
		return pin != "", err
	}); err != nil {
		t.Errorf("no PIN is texted: %v", err)
		return
	}
	c.both(e, pin)
	if !e.ended {
		t.Error("an order is not confirmed")
	}
}
