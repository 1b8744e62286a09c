package ledger

import (
	"context"
	"runtime"
	"testing"
)

// With all readers at work the next one waits, and ops see both.
func TestPools(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		s := openTemp(t)
		before := s.Pools()["read"]
		for range before.Most {
			conn, err := s.reads.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
		}
		patience, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, err := s.reads.Conn(patience)
			gone <- err
		}()
		for s.Pools()["read"].Waits == before.Waits { // the test's deadline bounds it
			runtime.Gosched()
		}
		cancel()
		if err := <-gone; err == nil {
			t.Error("there are more readers than there may be")
		}
		if p := s.Pools()["read"]; p.Most == 0 || p.Busy != p.Most || p.Waits != before.Waits+1 || p.Waited <= before.Waited {
			t.Errorf("readers: %+v, before %+v", p, before)
		}
		if p := s.Pools()["write"]; p.Most != 1 || p.Busy != 1 {
			t.Errorf("the writer: %+v", p)
		}
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		p := openPostgresTemp(t)
		before := p.Pools()["read"]
		for range before.Most {
			conn, err := p.reads.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Release()
		}
		if got := p.Pools()["read"]; got.Most == 0 || got.Busy != got.Most || got.Waits <= before.Waits || got.Waited <= before.Waited {
			t.Errorf("readers: %+v, before %+v", got, before)
		}
		if got := p.Pools()["write"]; got.Most != 2 || got.Busy+got.Idle > 2 {
			t.Errorf("the writer: %+v", got)
		}
	})
}
