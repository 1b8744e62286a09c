package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// fill puts what we know into what a script says.
func (s *shop) fill(script string, order func() string) (string, error) {
	script = strings.ReplaceAll(script, "{long}", strings.Repeat("All work and no play. ", 73)[:1600])
	if strings.Contains(script, "{wrong}") {
		script = strings.ReplaceAll(script, "{wrong}", s.wrong())
	}
	if strings.Contains(script, "{order}") {
		id := order()
		if id == "" {
			return "", errors.New("there is no {order} yet")
		}
		script = strings.ReplaceAll(script, "{order}", id)
	}
	var missing error
	script = placeholder.ReplaceAllStringFunc(script, func(name string) string {
		value, ok := s.memory[strings.Trim(name, "{}")]
		if !ok {
			missing = fmt.Errorf("no text has brought a %s yet", name)
		}
		return value
	})
	return script, missing
}

// wrong is a PIN that no text brought.
func (s *shop) wrong() string {
	for {
		s.wrongs++
		pin := strconv.Itoa(246810 + s.wrongs)
		if !slices.Contains(slices.Collect(maps.Values(s.memory)), pin) {
			return pin
		}
	}
}

// at returns the browser of that name, a new one if need be.
func (s *shop) at(name string) (*browser, error) {
	s.browser = name
	if b, ok := s.browsers[name]; ok {
		return b, nil
	}
	b, err := newBrowser(s.getenv("PUBLIC_URL"), s.getenv("LISTEN_ADDR"))
	s.browsers[name] = b
	return b, err
}

// anyOrder is some browser's order.
func (s *shop) anyOrder() string {
	for _, name := range slices.Sorted(maps.Keys(s.browsers)) {
		if order := s.browsers[name].told(); order != "" {
			return order
		}
	}
	return ""
}

// fields reads FIELD=VALUE arguments, filled in.
func (s *shop) fields(args []string, order func() string) (url.Values, error) {
	fields := url.Values{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, fmt.Errorf("%q is no FIELD=VALUE", arg)
		}
		value, err := s.fill(value, order)
		if err != nil {
			return nil, err
		}
		if name == "mobile_number" {
			s.typed = append(s.typed, value)
		}
		fields.Add(name, value)
	}
	return fields, nil
}

// request reads a command that asks the service for something, and returns
// what carries it out.
func (s *shop) request(args []string) (func() (answer, error), error) {
	if len(args) == 0 {
		return nil, errors.New("what is to be done?")
	}
	switch args[0] {
	case "web", "json":
		return s.visit(args[0] == "json", args[1:])
	case "hook":
		return s.hook(args[1:])
	case ">":
		return s.say(args[1:])
	case "again":
		handset, t := s.handset, said{Sid: s.lastSid.Load().(string)}
		return func() (answer, error) {
			a, _, err := s.booth.say(s.ctx, handset, t)
			return a, err
		}, nil
	default:
		return nil, fmt.Errorf("%s does not ask for anything", args[0])
	}
}

func (s *shop) visit(asJSON bool, args []string) (func() (answer, error), error) {
	if len(args) < 3 {
		return nil, errors.New("usage: web BROWSER METHOD PATH [FIELD=VALUE …]")
	}
	b, err := s.at(args[0])
	if err != nil {
		return nil, err
	}
	order := func() string {
		return cmp.Or(b.told(), s.anyOrder())
	}
	v := visit{method: args[1], json: asJSON}
	if v.path, err = s.fill(args[2], order); err != nil {
		return nil, err
	}
	rest := args[3:]
	if len(rest) > 0 && strings.HasPrefix(rest[0], "-from=") {
		v.from, rest = strings.TrimPrefix(rest[0], "-from="), rest[1:]
	}
	if v.fields, err = s.fields(rest, order); err != nil {
		return nil, err
	}
	return func() (answer, error) {
		a, err := b.visit(s.ctx, v)
		if err == nil {
			b.note(a)
		}
		return a, err
	}, nil
}

// hook reads a webhook. Its flags: -unsigned, -token=TOKEN and -url=URL that
// it is signed by and for, -body=BODY, -endless and -trickle in
// place of the fields.
func (s *shop) hook(args []string) (func() (answer, error), error) {
	if len(args) < 2 {
		return nil, errors.New("usage: hook METHOD PATH [-FLAG …] [FIELD=VALUE …]")
	}
	token, _, _ := strings.Cut(s.getenv("TWILIO_AUTH_TOKEN"), ",")
	h := hook{method: args[0], path: args[1], token: token}
	args = args[2:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		name, value, _ := strings.Cut(args[0], "=")
		switch name {
		case "-unsigned":
			h.token = ""
		case "-token":
			h.token = value
		case "-url":
			h.url = value
		case "-body":
			h.body = strings.NewReader(value)
		case "-endless":
			h.body = endless{}
		case "-trickle":
			h.body = trickle{s.ctx}
		default:
			return nil, fmt.Errorf("no flag %s", name)
		}
		args = args[1:]
	}
	h.fields = url.Values{
		"AccountSid": {s.getenv("TWILIO_ACCOUNT_SID")}, "MessageSid": {newSid()}, "NumMedia": {"0"},
		"From": {s.handset}, "To": {s.sender()},
	}
	given, err := s.fields(args, s.anyOrder)
	if err != nil {
		return nil, err
	}
	maps.Copy(h.fields, given)
	public, addr := s.getenv("PUBLIC_URL"), s.getenv("LISTEN_ADDR")
	return func() (answer, error) { return h.call(s.ctx, public, addr) }, nil
}

// say reads what a handset texts. Its flag: -picture, beside the words or
// without.
func (s *shop) say(args []string) (func() (answer, error), error) {
	args = s.pickUp(args)
	t := said{}
	if len(args) > 0 && args[0] == "-picture" {
		t.Media, args = picture, args[1:]
	}
	var err error
	if t.Body, err = s.fill(strings.Join(args, " "), s.anyOrder); err != nil {
		return nil, err
	}
	handset := s.handset
	return func() (answer, error) {
		a, sid, err := s.booth.say(s.ctx, handset, t)
		s.lastSid.Store(sid)
		return a, err
	}, nil
}

// pickUp takes the handset that args begin with, if they do.
func (s *shop) pickUp(args []string) []string {
	if len(args) > 0 && strings.HasPrefix(args[0], "+") {
		s.handset, args = args[0], args[1:]
	}
	return args
}
