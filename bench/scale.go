package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// A store is a database that is measured as it grows.
type store struct {
	name string
	url  string
	size func(context.Context) (int64, error) // on disk, in bytes
	rest func(context.Context) error          // lets it do what it puts off; nil for nothing
	cpu  func() (time.Duration, error)        // of the database's own processes; nil for none
}

// scaling measures how the cost of a check grows: with the conversations that
// are open, with the callers, and with a second serve beside the first.
func (c *conductor) scaling(ctx context.Context) error {
	sizes := []int{10_000, 100_000, 1_000_000}
	if c.short {
		sizes = sizes[:2]
	}
	if c.most > sizes[len(sizes)-1] {
		sizes = append(sizes, c.most)
	}
	for i, open := range sizes {
		s := c.sqliteStore(fmt.Sprintf("scale-%d", i))
		if err := c.grown(ctx, s, open); err != nil {
			return err
		}
	}
	for i, open := range sizes {
		if err := c.onNewPostgres(ctx, func(s store) error {
			if err := c.grown(ctx, s, open); err != nil || i != 1 {
				return err
			}
			return c.together(ctx, s, open)
		}); err != nil {
			return err
		}
	}
	return nil
}

func (c *conductor) sqliteStore(name string) store {
	path := filepath.Join(c.dir, name+".db")
	return store{name: "SQLite", url: "file:" + path, size: func(context.Context) (int64, error) {
		var sum int64
		files, err := filepath.Glob(path + "*") // and its WAL
		for _, file := range files {
			info, err := os.Stat(file)
			if err != nil {
				return 0, err
			}
			sum += info.Size()
		}
		return sum, err
	}}
}

func (c *conductor) onNewPostgres(ctx context.Context, do func(store) error) (err error) {
	pg, err := startPostgres()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pg.server.Close()) }()
	url := pg.server.DatabaseURL()
	connected := func(ctx context.Context, do func(*pgx.Conn) error) error {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		return errors.Join(do(conn), conn.Close(ctx))
	}
	return do(store{
		name: "PostgreSQL", url: url, cpu: pg.cpu,
		size: func(ctx context.Context) (size int64, err error) {
			err = connected(ctx, func(conn *pgx.Conn) error {
				return conn.QueryRow(ctx, `SELECT pg_database_size(current_database())`).Scan(&size)
			})
			return size, err
		},
		rest: func(ctx context.Context) error {
			return connected(ctx, func(conn *pgx.Conn) error {
				_, vacuumed := conn.Exec(ctx, `VACUUM ANALYZE`)
				_, written := conn.Exec(ctx, `CHECKPOINT`)
				return errors.Join(vacuumed, written)
			})
		},
	})
}

// grown measures a store with so many conversations open: what they take, and
// what a check costs that is one of several at once.
func (c *conductor) grown(ctx context.Context, st store, open int) (err error) {
	if err := c.seed(ctx, st.url, open, 48*time.Hour); err != nil {
		return err
	}
	// So many came within minutes: what is to be done for them, in the background
	// and to the disk, is not on the bill of those who check.
	if st.rest != nil {
		if err := st.rest(ctx); err != nil {
			return err
		}
	}
	unix.Sync()
	bytes, err := st.size(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	s, err := c.serve(ctx, fmt.Sprintf("%s-%d", st.name, open), st)
	if err != nil {
		return err
	}
	started := time.Since(began)
	defer s.stop(&err)
	p, err := c.newPlay(ctx, nil, s)
	if err != nil {
		return err
	}
	p.lines = open
	checks := 0
	for _, callers := range []int{1, 2, 4, 8, 16} {
		from, to := checks, checks+400*callers
		checks = to
		r, err := p.checks(ctx, callers, from, to)
		if err != nil {
			return err
		}
		rss, err := s.server.memory("VmRSS")
		if err != nil {
			return err
		}
		c.scaled(scaled{store: st.name, open: open, serves: 1, callers: callers, round: r,
			weight: fmt.Sprintf("%d B | %s | %.0f MiB", bytes/int64(open), millis(started), float64(rss)/mib)})
	}
	return nil
}

// together measures two serves on one PostgreSQL beside one alone. All of them
// share the measured core, so it tells what they cost each other.
func (c *conductor) together(ctx context.Context, st store, open int) (err error) {
	first, err := c.serve(ctx, "first", st)
	if err != nil {
		return err
	}
	defer first.stop(&err)
	second, err := c.serve(ctx, "second", st)
	if err != nil {
		return err
	}
	defer second.stop(&err)
	p, err := c.newPlay(ctx, nil, first)
	if err != nil {
		return err
	}
	p.lines = open
	both := *first
	both.cpu = func() (time.Duration, error) {
		sum, err := first.cpu() // with PostgreSQL's
		if err != nil {
			return 0, err
		}
		other, err := second.server.cpu()
		return sum + other, err
	}
	p.service = &both
	half, err := gather(ctx, second.addr, 8)
	if err != nil {
		return err
	}
	defer half.leave()
	all, err := gather(ctx, first.addr, 8)
	if err != nil {
		return err
	}
	defer all.leave()
	all = append(all, half...)
	const checks = 6400
	r, err := both.bill(ctx, all, checks, func() error { return all.walk(ctx, open/2, open/2+checks, p.scatteredCheck) })
	if err != nil {
		return err
	}
	c.scaled(scaled{store: st.name, open: open, serves: 2, callers: 8, round: r, weight: "| |"})
	return nil
}

// serve starts a service on a store, whose processes are on its bill.
func (c *conductor) serve(ctx context.Context, name string, st store) (*side, error) {
	s, err := c.startService(ctx, name, st.url)
	if err != nil {
		return nil, err
	}
	if st.cpu != nil {
		s.cpu = func() (time.Duration, error) {
			theirs, err := st.cpu()
			if err != nil {
				return 0, err
			}
			ours, err := s.server.cpu()
			return ours + theirs, err
		}
	}
	return s, nil
}

// checks has so many callers reply with wrong PINs, each on another line.
func (p *play) checks(ctx context.Context, callers, from, to int) (round, error) {
	all, err := gather(ctx, p.service.addr, callers)
	if err != nil {
		return round{}, err
	}
	defer all.leave()
	return p.service.bill(ctx, all, to-from, func() error { return all.walk(ctx, from, to, p.scatteredCheck) })
}

func (p *play) scatteredCheck(c *caller, n int) error {
	return p.reply(c, "check", p.scattered(n), messageSID("check", n), true)
}

// A scaled row is what a check cost at one size.
type scaled struct {
	store   string
	open    int // conversations
	serves  int
	callers int // of each serve
	round   round
	weight  string // on disk, start and memory, as cells
}

func (s scaled) String() string {
	who := fmt.Sprintf("%s, %d at once", s.store, s.callers)
	if s.serves > 1 {
		who = fmt.Sprintf("%s, %d serves, %d at once each", s.store, s.serves, s.callers)
	}
	r := []round{s.round}
	return fmt.Sprintf("| %s | %d | %.0f | %s | %s | %s | %s |", who, s.open,
		float64(s.round.visits)/s.round.wall.Seconds(), micros(s.round.perVisit()),
		millis(quantile(r, "check", .5)), millis(quantile(r, "check", .99)), s.weight)
}

// scaled adds a row.
func (c *conductor) scaled(row scaled) {
	c.report.scale = append(c.report.scale, row)
	c.say("%v", row)
}
