package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// up opens the booth and starts the service.
func (s *shop) up() error {
	if err := s.open(); err != nil {
		return err
	}
	return s.serve()
}

// asking is the command of that name, one of those that [shop.request] reads.
func asking(name string) command {
	return func(s *shop, out io.Writer, args []string) error {
		do, err := s.request(append([]string{name}, args...))
		if err != nil {
			return err
		}
		if s.answer, err = do(); err != nil {
			return err
		}
		_, err = io.WriteString(out, s.answer.String())
		return err
	}
}

// get asks for a page of anything that is starting: URL.
func (s *shop) get(out io.Writer, args []string) error {
	err := until(s.ctx, func() (bool, error) {
		req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, strings.Join(args, ""), nil)
		if err != nil {
			return false, err
		}
		s.answer, err = ask(http.DefaultClient, req)
		return err == nil && s.answer.status == http.StatusOK, nil
	})
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, s.answer.String())
	return err
}

// status says what the status was of the last answer.
func (s *shop) status(_ io.Writer, args []string) error {
	if got := strconv.Itoa(s.answer.status); !slices.Contains(args, got) {
		return fmt.Errorf("the status is %s, not %s", got, strings.Join(args, " or "))
	}
	return nil
}

// placeOrder has a browser fill in the form and get a PIN: BROWSER [+NUMBER].
func (s *shop) placeOrder(_ io.Writer, args []string) error {
	if len(args) == 0 || len(s.pickUp(args[1:])) > 0 {
		return errors.New("usage: order BROWSER [+NUMBER]")
	}
	do, err := s.visit(false, []string{
		args[0], http.MethodPost, "/pin", "mobile_number=" + s.handset,
		"name=Ada Lovelace", "address=12 St James Square", "items=1 engine",
	})
	if err != nil {
		return err
	}
	if s.answer, err = do(); err == nil && s.answer.status != http.StatusSeeOther {
		err = fmt.Errorf("no PIN is texted:\n%s", s.answer)
	}
	return err
}

// openTab opens another tab: BROWSER NAME. It shares the cookies.
func (s *shop) openTab(_ io.Writer, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: tab BROWSER NAME")
	}
	b, err := s.at(args[0])
	if err == nil {
		s.browsers[args[1]] = &browser{public: b.public, client: b.client}
	}
	return err
}

// silence makes sure that nothing has come to the handset and nothing will: no
// text of ours that could leave now is still here.
func (s *shop) silence(_ io.Writer, args []string) error {
	s.pickUp(args)
	err := until(s.ctx, func() (bool, error) {
		return outboxIsQuiet(s.ctx, s.getenv("DATABASE_URL"), time.Now().Add(s.passed+s.off))
	})
	if err != nil {
		return fmt.Errorf("texts are on their way: %w", err)
	}
	unread, err := s.unread(s.handset)
	if err == nil && len(unread) > 0 {
		err = fmt.Errorf("it is not silent:%s", shown(unread))
	}
	return err
}

// together does two things in the same instant, and tells what came of both.
func (s *shop) together(out io.Writer, args []string) error {
	between := slices.Index(args, "--")
	if between < 0 {
		return errors.New("usage: together A -- B")
	}
	ready := make(chan struct{})
	var outcomes [2]chan outcome
	for i, args := range [][]string{args[:between], args[between+1:]} {
		do, err := s.request(args)
		if err != nil {
			return err
		}
		outcomes[i] = make(chan outcome, 1)
		go func() {
			<-ready
			a, err := do()
			outcomes[i] <- outcome{a, err}
		}()
	}
	close(ready)
	for _, c := range outcomes {
		o := <-c
		if o.err != nil {
			return o.err
		}
		s.answer = o.answer
		if _, err := io.WriteString(out, o.String()); err != nil {
			return err
		}
	}
	return nil
}

// begin begins a request, whose answer finish waits for.
func (s *shop) begin(_ io.Writer, args []string) error {
	do, err := s.request(args)
	if err != nil {
		return err
	}
	pending := make(chan outcome, 1)
	s.pending = pending
	go func() {
		a, err := do()
		pending <- outcome{a, err}
	}()
	return nil
}

func (s *shop) finish(out io.Writer, _ []string) error {
	if s.pending == nil {
		return errors.New("nothing was begun")
	}
	select {
	case o := <-s.pending:
		s.answer, s.pending = o.answer, nil
		_, err := io.WriteString(out, s.answer.String())
		return errors.Join(o.err, err)
	case <-time.After(patience):
		return errPatience
	}
}

// state and text wait for what the order's page tells: STATE [BROWSER].
func (s *shop) state(_ io.Writer, args []string) error {
	return s.standing(args, func(state, _ string) string { return state })
}

func (s *shop) text(_ io.Writer, args []string) error {
	return s.standing(args, func(_, text string) string { return text })
}

// standing waits for the order to be as args have it: STATE [BROWSER].
func (s *shop) standing(args []string, of func(state, text string) string) error {
	if len(args) == 0 || len(args) > 2 {
		return errors.New("usage: state STATE [BROWSER]")
	}
	name := s.browser
	if len(args) == 2 {
		name = args[1]
	}
	b := s.browsers[name]
	if b == nil {
		return fmt.Errorf("there is no browser %q", name)
	}
	var got string
	err := until(s.ctx, func() (bool, error) {
		state, text, err := b.look(s.ctx)
		got = of(state, text)
		return got == args[0], err
	})
	if err != nil {
		return fmt.Errorf("%s is not %s but %q: %w", name, args[0], got, err)
	}
	return nil
}

// metric waits for a metric to have a value: NAME VALUE.
func (s *shop) metric(_ io.Writer, args []string) error {
	if len(args) != 2 {
		return errors.New("usage: metric NAME VALUE")
	}
	got := "nothing"
	err := until(s.ctx, func() (bool, error) {
		metrics, err := s.metrics()
		for line := range strings.Lines(metrics) {
			if value, ok := strings.CutPrefix(strings.TrimSpace(line), "countersign_"+args[0]+" "); ok {
				got = value
			}
		}
		return got == args[1], err
	})
	if err != nil {
		return fmt.Errorf("%s is %s, not %s: %w", args[0], got, args[1], err)
	}
	return nil
}

// pass lets time pass, for all.
func (s *shop) pass(_ io.Writer, args []string) error {
	d, err := time.ParseDuration(strings.Join(args, " "))
	if err != nil {
		return err
	}
	s.passed += d
	if err := setClock(s.getenv("CLOCK"), s.passed+s.off); err != nil || s.booth.process == nil {
		return err
	}
	return s.booth.call(s.ctx, http.MethodPost, "/booth/clock", map[string]string{"advance": d.String()}, nil)
}

// setClock sets the service's clock wrong.
func (s *shop) setClock(_ io.Writer, args []string) (err error) {
	if s.off, err = time.ParseDuration(strings.Join(args, " ")); err != nil {
		return err
	}
	return setClock(s.getenv("CLOCK"), s.passed+s.off)
}

func (s *shop) sql(_ io.Writer, args []string) error {
	return changeDatabase(s.ctx, s.getenv("DATABASE_URL"), strings.Join(args, " "))
}

// fault breaks the booth, or mends it if no kind is given.
func (s *shop) fault(_ io.Writer, args []string) error {
	if len(args) == 0 {
		return s.booth.call(s.ctx, "DELETE", "/booth/faults", nil, nil)
	}
	fault := map[string]any{"kind": args[0]}
	for _, arg := range args[1:] {
		name, value, _ := strings.Cut(arg, "=")
		fault[name] = value
		if n, err := strconv.Atoi(value); err == nil && name != "to" {
			fault[name] = n
		}
	}
	return s.booth.call(s.ctx, "POST", "/booth/faults", fault, nil)
}

// struck waits for all faults to have struck as often as they were to.
func (s *shop) struck(_ io.Writer, _ []string) error {
	return until(s.ctx, func() (bool, error) {
		var force []json.RawMessage
		err := s.booth.call(s.ctx, http.MethodGet, "/booth/faults", nil, &force)
		return len(force) == 0, err
	})
}
