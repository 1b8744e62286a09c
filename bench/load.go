package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A caller is one connection to a server under measurement, and how long its
// answers took. It is made to be light, since who asks has one core as who
// answers has: a request is a slice of bytes.
type caller struct {
	conn  net.Conn
	read  *bufio.Reader
	began time.Time                  // when the next request was to begin; zero for when it does
	took  map[string][]time.Duration // by what was asked
}

func dial(ctx context.Context, addr string) (*caller, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &caller{conn: conn, read: bufio.NewReaderSize(conn, 16<<10), took: map[string][]time.Duration{}}, nil
}

// do makes a request and returns its answer, which must have that status. The
// time it took is kept under what.
func (c *caller) do(what string, request []byte, want int) (answer, error) {
	began := c.began
	if c.began = (time.Time{}); began.IsZero() {
		began = time.Now()
	}
	if _, err := c.conn.Write(request); err != nil {
		return answer{}, fmt.Errorf("%s: %w", what, err)
	}
	resp, err := http.ReadResponse(c.read, nil)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", what, err)
	}
	defer func() { _ = resp.Body.Close() }()
	var body bytes.Buffer
	if _, err := io.Copy(&body, resp.Body); err != nil {
		return answer{}, fmt.Errorf("%s: %w", what, err)
	}
	c.took[what] = append(c.took[what], time.Since(began))
	a := answer{Status: resp.StatusCode, Header: resp.Header, Body: body.Bytes()}
	if a.Status != want {
		return a, fmt.Errorf("%s: %w", what, &unexpected{want, a})
	}
	return a, nil
}

// unexpected is an answer, but not the one that was wanted.
type unexpected struct {
	want int
	got  answer
}

func (u *unexpected) Error() string {
	return fmt.Sprintf("answered %d, not %d:\n%s", u.got.Status, u.want, u.got.Body)
}

// A visit is the n-th passage of a road, by one or more requests.
type visit func(c *caller, n int) error

// A crowd is so many callers that come to a server together.
type crowd []*caller

func gather(ctx context.Context, addr string, callers int) (crowd, error) {
	var all crowd
	for range callers {
		c, err := dial(ctx, addr)
		if err != nil {
			all.leave()
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func (cr crowd) leave() {
	for _, c := range cr {
		_ = c.conn.Close()
	}
}

// took is what all callers' answers took.
func (cr crowd) took() map[string][]time.Duration {
	all := map[string][]time.Duration{}
	for _, c := range cr {
		for what, took := range c.took {
			all[what] = append(all[what], took...)
		}
	}
	return all
}

// walk makes visits from to to-1; each caller makes the next when it is done
// with one.
func (cr crowd) walk(ctx context.Context, from, to int, v visit) error {
	var next atomic.Int64
	next.Store(int64(from))
	return cr.each(func(c *caller) error {
		for n := int(next.Add(1)) - 1; n < to && ctx.Err() == nil; n = int(next.Add(1)) - 1 {
			if err := v(c, n); err != nil {
				next.Store(int64(to)) // the others need not go on
				return err
			}
		}
		return ctx.Err()
	})
}

// stream makes visits from to to-1 at a steady rate, whatever the server does:
// each begins at its time, or counts from then if all callers are still out.
func (cr crowd) stream(ctx context.Context, from, to int, perSecond float64, v visit) error {
	start := time.Now()
	var next atomic.Int64
	next.Store(int64(from))
	return cr.each(func(c *caller) error {
		for n := int(next.Add(1)) - 1; n < to && ctx.Err() == nil; n = int(next.Add(1)) - 1 {
			c.began = start.Add(time.Duration(float64(n-from) / perSecond * float64(time.Second)))
			time.Sleep(time.Until(c.began))
			if err := v(c, n); err != nil {
				next.Store(int64(to))
				return err
			}
		}
		return ctx.Err()
	})
}

func (cr crowd) each(do func(*caller) error) error {
	errs := make(chan error, len(cr))
	var all sync.WaitGroup
	for _, c := range cr {
		all.Go(func() {
			if err := do(c); err != nil {
				errs <- err
			}
		})
	}
	all.Wait()
	close(errs)
	return <-errs
}
