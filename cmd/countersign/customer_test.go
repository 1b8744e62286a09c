package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/flow"
)

// A customer orders at the shop, over and over, and answers as customers do:
// rightly or wrongly, on the page or by text, at once or much later, with a
// change of mind. Whatever is not answered they do again.
type customer struct {
	*town
	page string // where the shop's page is; the front door, if empty
	dice *rand.Rand
	open []*errand
}

// An errand is one order, as its customer sees it.
type errand struct {
	browser *browser
	number  string
	id      string
	ref     string
	ended   bool
	stopped bool // the customer texted STOP
	tries   int  // left on the page, as they were last told for this PIN
}

// A sight is what the service tells of an order in JSON: its view, or what is
// wrong.
type sight struct {
	Order, State, Reference, Detail string
	Tries                           int
}

const webTries = 5

// live is a customer's day.
func (c *customer) live(day context.Context) {
	for day.Err() == nil {
		if len(c.open) < 2 || len(c.open) < 6 && c.dice.IntN(3) == 0 {
			c.shopFor(day)
		} else {
			c.attend(c.open[c.dice.IntN(len(c.open))])
		}
		c.tidy()
		pause(day, time.Duration(30+c.dice.IntN(150))*time.Millisecond)
	}
}

// tidy forgets the errands that are done.
func (c *customer) tidy() {
	c.open = slices.DeleteFunc(c.open, func(e *errand) bool { return e.ended })
}

// shopFor places an order, now and then for a number that has one already.
func (c *customer) shopFor(day context.Context) {
	b, err := newBrowser(cmp.Or(c.page, c.front.URL), strings.TrimPrefix(c.front.URL, "http://"))
	if err != nil {
		c.book.breach(ourFaults, "%v", err)
		return
	}
	e := &errand{browser: b, number: c.number(), tries: webTries}
	if len(c.open) > 0 && c.dice.IntN(6) == 0 {
		e.number = c.open[0].number
	}
	// A browser gets its cookie with the form.
	if _, err := c.insist(day, e, http.MethodGet, "/", nil); err != nil {
		return
	}
	form := url.Values{
		"mobile_number": {e.number}, "name": {"Ada Lovelace"}, "address": {"12 St James Square"}, "items": {"1 engine"},
	}
	a, err := c.insist(day, e, http.MethodPost, "/pin", form)
	if err != nil {
		return // the shop has closed; an order that was kept and not told of is found in the end
	}
	seen := c.see(e, a)
	if seen.Order == "" {
		c.book.count("orders refused", 1)
		return
	}
	e.id = seen.Order
	c.book.order(e.id, func(*told) {})
	c.book.count("orders placed", 1)
	c.open = append(c.open, e)
	c.look(e)
}

// attend does one thing about an order.
func (c *customer) attend(e *errand) {
	if e.ref == "" {
		c.look(e)
		return
	}
	pin, err := c.latestPIN(e)
	if err != nil {
		c.book.breach(ourFaults, "the booth: %v", err)
		return
	}
	dice := c.dice.IntN(100)
	switch {
	case e.stopped:
		c.say(e, "START")
		e.stopped, e.tries = false, webTries
	case pin == "":
		c.wait(e, dice)
	case dice < 26:
		c.say(e, pin)
	case dice < 44:
		c.typed(e, pin)
	case dice < 50:
		c.both(e, pin)
	case dice < 60:
		c.typed(e, c.wrong(pin))
	case dice < 70:
		c.say(e, "my pin is "+c.wrong(pin))
	case dice < 75:
		c.say(e, "NEW")
		e.tries = webTries
	case dice < 79:
		c.post(e, "/resend", nil)
		e.tries = webTries
	case dice < 84:
		c.renumber(e)
	case dice < 87:
		c.hasten(e)
	case dice < 90:
		c.post(e, "/decline", nil)
	case dice < 93:
		c.say(e, "NO "+e.ref)
	case dice < 95:
		c.say(e, "STOP")
		e.stopped = true
	default:
		c.look(e)
	}
}

// wait is what a customer does whose text has not come.
func (c *customer) wait(e *errand, dice int) {
	switch {
	case dice < 8:
		c.post(e, "/resend", nil)
		e.tries = webTries
	case dice < 13:
		c.renumber(e)
	case dice < 16:
		c.hasten(e)
	case dice < 18:
		c.post(e, "/decline", nil)
	case dice < 21:
		c.say(e, "NEW")
		e.tries = webTries
	case dice < 23:
		c.say(e, "STATUS")
	case dice < 25:
		c.typed(e, strconv.Itoa(100_000+c.dice.IntN(900_000))) // a guess
	case dice < 40:
		c.look(e)
	}
}

// typed types a PIN into the page, and holds the service to the tries that it
// tells of: each miss leaves fewer.
func (c *customer) typed(e *errand, pin string) {
	seen := c.post(e, "/pin", url.Values{"pin": {pin}})
	if !strings.HasSuffix(seen.Detail, "left.") || !strings.HasPrefix(seen.Detail, "Invalid PIN!") {
		return
	}
	c.book.count("misses told on the page", 1)
	if seen.Tries >= e.tries {
		c.book.breach(givenBack, "order %s: %d tries were left, and after a miss %d", e.id, e.tries, seen.Tries)
	}
	e.tries = seen.Tries
}

// both gives the PIN by both roads in the same instant.
func (c *customer) both(e *errand, pin string) {
	c.book.count("races of both roads", 1)
	var done sync.WaitGroup
	var byWeb sight
	done.Go(func() { byWeb = c.ask(e, "/pin", url.Values{"pin": {pin}}) })
	reply := c.hear(e.number, pin)
	done.Wait()
	c.believe(e, byWeb.State)
	c.understand(reply)
	c.look(e)
}

// renumber moves the order to a number that nobody has had.
func (c *customer) renumber(e *errand) {
	if to := c.number(); c.moved(e, to) {
		e.number, e.tries, e.stopped = to, webTries, false
	}
}

// hasten changes the number, and again before the text to the first can have
// left; and once more, to know which it is.
func (c *customer) hasten(e *errand) {
	var done sync.WaitGroup
	done.Go(func() { c.moved(e, c.number()) })
	pause(c.ctx, time.Duration(c.dice.IntN(60))*time.Millisecond)
	c.moved(e, c.number())
	done.Wait()
	c.renumber(e)
}

// moved asks for the order to be moved to a number, and reports whether it was.
func (c *customer) moved(e *errand, to string) bool {
	a, err := c.insist(c.ctx, e, http.MethodPost, "/orders/"+e.id+"/number", url.Values{"mobile_number": {to}})
	if err != nil || a.status != http.StatusAccepted {
		return false // a ceiling: it stays where it is
	}
	c.book.count("numbers changed", 1)
	c.book.order(e.id, func(t *told) { t.changes++ })
	return true
}

// look asks where the order stands.
func (c *customer) look(e *errand) {
	a, err := c.insist(c.ctx, e, http.MethodGet, "/orders/"+e.id, nil)
	if err == nil {
		c.see(e, a)
	}
}

// post asks something of an order, and sees what comes of it.
func (c *customer) post(e *errand, path string, form url.Values) sight {
	seen := c.ask(e, path, form)
	c.believe(e, seen.State)
	if seen.State == "" { // a refusal that does not say
		c.look(e)
	}
	return seen
}

func (c *customer) ask(e *errand, path string, form url.Values) sight {
	a, err := c.insist(c.ctx, e, http.MethodPost, "/orders/"+e.id+path, form)
	if err != nil {
		return sight{}
	}
	return c.read(e, a)
}

// see reads an answer and believes it.
func (c *customer) see(e *errand, a answer) sight {
	seen := c.read(e, a)
	if seen.Reference != "" {
		e.ref = seen.Reference
		c.book.order(e.id, func(t *told) { t.reference = e.ref })
	}
	c.believe(e, seen.State)
	return seen
}

// read reads an answer.
func (c *customer) read(e *errand, a answer) sight {
	var seen sight
	switch a.status {
	case http.StatusOK, http.StatusAccepted, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusTooManyRequests:
		if err := json.Unmarshal([]byte(a.text), &seen); err != nil {
			c.book.breach(ourFaults, "order %s: %d and no JSON: %v", e.id, a.status, err)
		}
	case http.StatusNotFound:
		c.book.breach(lostOrders, "order %s of which the customer was told is not there", e.id)
		e.ended = true
	default:
		c.book.breach(ourFaults, "order %s: answered %d", e.id, a.status)
	}
	return seen
}

// believe notes an order's end, of which the customer must never be told
// anything else.
func (c *customer) believe(e *errand, state string) {
	if state != "confirmed" && state != "declined" && state != "lapsed" {
		if state != "" && e.ended {
			c.book.breach(lostOrders, "order %s had ended and is %s", e.id, state)
		}
		return
	}
	e.ended = true
	c.book.order(e.id, func(t *told) {
		if t.ended != "" && t.ended != state {
			c.book.breaches[lostOrders] = append(c.book.breaches[lostOrders],
				fmt.Sprintf("order %s: told %s, then %s", e.id, t.ended, state))
		}
		t.ended = state
	})
}

// insist asks until it is answered: by a service that lives, and not one that
// has no room.
func (c *customer) insist(ctx context.Context, e *errand, method, path string, form url.Values) (answer, error) {
	for {
		a, err := e.browser.visit(ctx, visit{method: method, path: path, fields: form, json: true})
		switch {
		case ctx.Err() != nil:
			return answer{}, ctx.Err()
		case err != nil || a.header.Get(goneHeader) != "":
			c.book.count("requests that nobody answered", 1)
		case a.status == http.StatusServiceUnavailable:
			c.book.count("requests answered by 503", 1)
		default:
			return a, nil
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// say texts the shop, and understands the answer.
func (c *customer) say(e *errand, body string) {
	c.understand(c.hear(e.number, body))
	c.look(e)
}

// A reply is what the shop answered to a text.
type reply struct{ sid, twiml string }

// hear texts the shop. Twilio asks until it is answered, and now and then once
// more: the answer must be the same.
func (c *customer) hear(number, body string) reply {
	t := said{Body: body, Sid: newSid()}
	once := func() (answer, error) {
		a, _, err := c.booth.say(c.ctx, number, t)
		if err == nil && a.status != http.StatusOK {
			err = errGone
		}
		return a, err
	}
	interrupted := false
	var twiml string
	for {
		a, err := once()
		if c.ctx.Err() != nil {
			return reply{}
		}
		if err == nil {
			twiml = a.text
			break
		}
		if a.status >= 500 && a.status != http.StatusBadGateway && a.status != http.StatusServiceUnavailable {
			c.book.breach(ourFaults, "a text was answered %d", a.status)
		}
		interrupted = true
		c.book.count("texts that nobody answered", 1)
		pause(c.ctx, 50*time.Millisecond)
	}
	c.note(number, t.Sid, twiml, interrupted)
	if c.dice.IntN(8) == 0 {
		if a, err := once(); err == nil {
			c.note(number, t.Sid, a.text, false)
			c.book.count("answered texts that Twilio told of again", 1)
		}
	}
	return reply{t.Sid, twiml}
}

func (c *customer) note(number, sid, twiml string, interrupted bool) {
	if strings.HasPrefix(twiml, "kept by Twilio") {
		return
	}
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	h := c.book.heard[sid]
	if h == nil {
		h = &heardTexts{from: flow.Number(number)}
		c.book.heard[sid] = h
	}
	h.answers, h.interrupted = append(h.answers, twiml), h.interrupted || interrupted
}

var thanks = regexp.MustCompile(`thank you! Order ([A-Z]{3}[0-9]{3}) is confirmed`)

// understand notes which order a reply is told to have confirmed.
func (c *customer) understand(r reply) {
	found := thanks.FindStringSubmatch(r.twiml)
	if found == nil {
		return
	}
	c.book.count("orders confirmed by reply, as answered", 1)
	for _, e := range c.open {
		if e.ref == found[1] {
			c.believe(e, "confirmed")
			c.book.order(e.id, func(t *told) { t.thanked = append(t.thanked, r.sid) })
		}
	}
}

// pinText is a text that brings a PIN.
var pinText = regexp.MustCompile(`\b([0-9]{6}) (?:confirms|to confirm) order ([A-Z]{3}[0-9]{3})\b`)

// latestPIN is the one that the order's latest text brought; empty for none.
func (c *customer) latestPIN(e *errand) (pin string, err error) {
	texts, err := c.record(e.number)
	for _, t := range texts {
		if found := pinText.FindStringSubmatch(t.Body); found != nil && t.outbound() && found[2] == e.ref {
			pin = found[1]
		}
	}
	return pin, err
}

// wrong is a PIN, but not that one.
func (c *customer) wrong(pin string) string {
	n, _ := strconv.Atoi(pin)
	return fmt.Sprintf("%06d", (n+1+c.dice.IntN(999_998))%1_000_000)
}
