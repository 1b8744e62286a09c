package ledger

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
	"github.com/countersign/countersign/internal/pgtest"
)

// asking is what Get PIN saves: a new order on its line, and its text.
func asking(n int) flow.Change {
	id, order, message := lineID(n), flowtest.NewID(time.Now()), flowtest.NewID(time.Now())
	named := flow.Named{Reference: "K7Q2-118", Amount: "$42.10"}
	return flow.Change{
		Lines: []flow.Line{{
			LineID: id, Texts: flow.Recent{noon}, Serials: flow.Recent{noon},
			Conversations: []flow.Conversation{{
				ID: order, State: flow.Asked, Named: named, Message: message,
				Entries: []flow.Entry{
					{Field: "name", Value: "Ada Lovelace"},
					{Field: "address", Value: "12 St James's Square, London"},
					{Field: "items", Value: "1 × Difference Engine"},
				},
				Serial:  flow.Serial{N: 1, Key: "0badcafe", Length: 6, Named: named, Expires: noon.Add(24 * time.Hour)},
				Created: noon, Texted: noon, Deadline: noon.Add(72 * time.Hour),
			}},
		}},
		Messages: []flow.Message{{
			ID: message, Order: order, Line: id, Kind: flow.KindPIN, Serial: 1, Locale: "en", Named: named,
			State: flow.Leased, Attempt: 1, Due: noon.Add(15 * time.Second), Created: noon,
		}},
		Events: []flow.Happening{{Order: order, At: noon, Event: flow.Ordered, From: flow.New, To: flow.Asked, Channel: flow.Web}},
		Spend:  []flow.Spend{{Total: "texts/2026-11-23", N: 1, Limit: 1 << 30}},
	}
}

func BenchmarkSave(b *testing.B) {
	for _, writers := range []int{1, 32} {
		for _, kind := range kinds {
			b.Run(fmt.Sprintf("%s/writers=%d", kind.name, writers), func(b *testing.B) {
				l := kind.open(b)
				var n atomic.Int64
				var all sync.WaitGroup
				b.ResetTimer()
				for range writers {
					all.Go(func() {
						for i := int(n.Add(1)); i <= b.N; i = int(n.Add(1)) {
							if err := l.Save(context.Background(), asking(i)); err != nil {
								b.Error(err)
							}
						}
					})
				}
				all.Wait()
			})
		}
	}
}

// kinds are the ledgers that are measured. All of them wait for the disk.
var kinds = []struct {
	name string
	open func(testing.TB) flow.Ledger
}{
	{"SQLite", func(t testing.TB) flow.Ledger { return openTemp(t) }},
	{"PostgreSQL", func(t testing.TB) flow.Ledger { return openURL(t, pgtest.New(t).URL(t)) }},
}

func BenchmarkLine(b *testing.B) {
	const lines = 1000
	ledgers := map[string]flow.Ledger{}
	for _, kind := range kinds {
		l := kind.open(b)
		for n := range lines {
			if err := l.Save(context.Background(), asking(n)); err != nil {
				b.Fatal(err)
			}
		}
		ledgers[kind.name], ledgers["cached"] = l, Cached(l, 10*lines, 0)
	}
	for name, ledger := range ledgers {
		for n := range lines {
			if _, err := ledger.Line(context.Background(), lineID(n)); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := ledger.Line(context.Background(), lineID(i%lines)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
