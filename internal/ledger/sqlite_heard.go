package ledger

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/flow"
)

// heard is how a line's row tells which texts it has heard.
type heard struct {
	last string // as JSON arrays of MessageSid and time, each after a comma
	more bool   // whether others are in the table of that name
	// alone is whether it is the number's only line. The same text may come to
	// two, before and after the shop has changed its sender.
	alone bool
}

// longHeard is from how many bytes of texts on they are moved to the table: some
// eight texts. A row of more than 1,002 bytes would have a page to itself beside
// the table's, which is what the list is there to spare (4 KiB pages, see
// https://www.sqlite.org/fileformat2.html#b_tree_pages), and there are times and
// orders in it too.
const longHeard = 400

// heardAs is how what a row tells of that text begins.
func heardAs(sid string) (string, error) {
	quoted, err := json.Marshal(sid)
	return ",[" + string(quoted) + ",", err
}

// hearing is which of lines has heard in: [flow.Change.Validate] has seen that
// one has.
func hearing(in *flow.Inbound, lines []flow.Line) int {
	return slices.IndexFunc(lines, func(l flow.Line) bool { return l.LineID == in.Line })
}

// knows reports whether that text was heard, by the line that it is to, which
// has heard so much, or another of its number.
func (s *SQLite) knows(has heard, in *flow.Inbound) (bool, error) {
	told, err := heardAs(in.SID)
	switch {
	case err != nil:
		return false, err
	case strings.Contains(has.last, told):
		return true, nil
	case has.alone && !has.more:
		return false, nil
	}
	return exists(unhurried, s.save.heard, in.Line.Number.E164(), told, in.SID)
}

// writeInbound writes a text, and adds it to what its line has heard. It is for
// who writes the line to write that.
func (s *SQLite) writeInbound(in *flow.Inbound, has *heard) error {
	told, err := heardAs(in.SID)
	if err != nil {
		return err
	}
	if len(has.last) >= longHeard {
		if err := s.run(s.save.shelve, has.last); err != nil {
			return err
		}
		has.last, has.more = "", true
	}
	at := in.At.UnixMilli()
	has.last += told + strconv.FormatInt(at, 10) + "]"
	return s.run(s.save.inbound, at, in.SID, in.Line.Number.E164(), in.Line.Sender,
		string(in.Read), optional(in.Order), in.Reply)
}

// Heard implements [flow.Ledger].
func (s *SQLite) Heard(ctx context.Context, from flow.Number, sid string) (flow.Inbound, error) {
	ctx, err := brief(ctx)
	if err != nil {
		return flow.Inbound{}, err
	}
	told, err := heardAs(sid)
	if err != nil {
		return flow.Inbound{}, err
	}
	in, err := scanInbound(s.read.heard.QueryRowContext(ctx, sid, from.E164(), told))
	return in, missing("find inbound text", err)
}
