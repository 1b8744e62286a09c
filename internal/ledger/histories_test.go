package ledger

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

// The whole conversation on a real file, behind a cache that forgets nearly
// everything: reading less must change nothing.
func TestHistories(t *testing.T) {
	flowtest.TestHistories(t,
		func(tb testing.TB) flow.Ledger { return Cached(file(tb), 2, 24*time.Hour) },
		func(l flow.Ledger) { l.(*Cache).Purge() })
}

func TestMemory(t *testing.T) {
	flowtest.Often(t, 100)
	for _, lines := range []int{1, 100} {
		t.Run(fmt.Sprintf("caches of %d", lines), func(t *testing.T) {
			// To make new ones each time would be most of the work.
			var caches [flowtest.Caches]*Cache
			for i := range caches {
				caches[i] = Cached(nil, lines, 0)
			}
			flowtest.TestMemory(t, func(desk int, next flow.Ledger) flow.Ledger {
				c := caches[desk]
				c.Purge()
				c.Ledger = next
				return c
			})
		})
	}
}

func TestRaces(t *testing.T) {
	t.Run("without a cache", func(t *testing.T) {
		flowtest.TestRaces(t, func(tb testing.TB) flow.Ledger { return file(tb) })
	})
	t.Run("behind a cache", func(t *testing.T) {
		flowtest.TestRaces(t, func(tb testing.TB) flow.Ledger { return Cached(file(tb), 1000, 0) })
	})
}

func file(tb testing.TB) flow.Ledger {
	tb.Helper()
	l, err := Open(tb.Context(), "file:"+filepath.Join(tb.TempDir(), "test.db"))
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// Whoever deletes or replaces the file of a running service must not find out
// with its next start.
func TestPingMissesTheFile(t *testing.T) {
	l := file(t).(*SQLite)
	defer func() { _ = l.Close() }()
	if err := l.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(l.path, l.path+".gone"); err != nil {
		t.Fatal(err)
	}
	if err := l.Ping(t.Context()); err == nil {
		t.Error("the file is gone, and the ledger is well")
	}
	if err := os.WriteFile(l.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Ping(t.Context()); err == nil {
		t.Error("another file is in its place, and the ledger is well")
	}
}
