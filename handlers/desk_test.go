package handlers

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

// A live shop is one with the desk of [flow], on a ledger in memory and with a
// fake Twilio: what the edge believes of the desk holds.
func openLive(t *testing.T) (*shop, *flowtest.Shop) {
	t.Helper()
	back := flowtest.NewShop(t, flowtest.NewLedger())
	front := open(t, func(c *Config) { c.Desk, c.Now, c.Sender = back.Desk, back.Now, flowtest.ShopSender })
	return front, back
}

// texted sends what waits, and returns the PIN that was last texted to n.
func texted(t *testing.T, back *flowtest.Shop, n string) string {
	t.Helper()
	back.SendAll()
	for _, took := range slices.Backward(back.Sender.Taken()) {
		if took.To.E164() == n {
			return flowtest.PINOf(took.Body)
		}
	}
	t.Fatal("nothing was texted")
	return ""
}

// other is a PIN of that length that is not pin.
func other(pin string) string {
	first := byte('0')
	if pin[0] == first {
		first = '1'
	}
	return string(first) + pin[1:]
}

func TestAWholeOrder(t *testing.T) {
	front, back := openLive(t)
	v := front.visitor()
	id := v.order().String()
	pin := texted(t, back, theirs)
	whole := []string{"order", id, "name", "Ada", "address", "12 St James Square", "items", "2 engines", "mobile_number", theirs}
	place := func(pin string) reply { return v.post("/orders", append(slices.Clone(whole), "pin", pin)...) }

	if page := v.get("/orders/" + id); !strings.Contains(page.text, "+1••••••••71") || !strings.Contains(page.text, "1 engine") {
		t.Errorf("the order's page: %s", page.text)
	}
	for _, tt := range []struct{ name, pin, says string }{
		{"no PIN", " ", "Type the PIN that we texted you."},
		{"half a PIN", pin[:3], "Invalid PIN! The PIN is 6 numbers."},
		{"another", other(pin), "Invalid PIN! 4 tries left."},
	} {
		if res := place(tt.pin); res.StatusCode != 422 || !strings.Contains(res.text, tt.says) || !strings.Contains(res.text, "2 engines") {
			t.Errorf("%s: %d: %s", tt.name, res.StatusCode, res.text)
		}
	}
	if res := v.post("/orders", "order", id, "pin", pin, "name", "", "items", ""); res.StatusCode != 422 ||
		!strings.Contains(res.text, "Type your name.") || !strings.Contains(res.text, "Type what you would like") || strings.Contains(res.text, "Type the address") {
		t.Errorf("an empty form: %d: %s", res.StatusCode, res.text)
	}
	for range 2 {
		if res := place(pin[:3] + " " + pin[3:]); res.StatusCode != 303 || !strings.HasSuffix(res.Header.Get("Location"), id+"/complete") {
			t.Errorf("the PIN: %d: %s", res.StatusCode, res.text)
		}
	}
	if end := v.get("/orders/" + id + "/complete"); end.StatusCode != 200 || !strings.Contains(end.text, "2 engines") {
		t.Errorf("the end: %d: %s", end.StatusCode, end.text)
	}
	if res := v.post("/orders/"+id+"/resend", "x", "y"); res.StatusCode != 409 {
		t.Errorf("a resend after the end: %d", res.StatusCode)
	}
}

func TestUsingUpThePagesTries(t *testing.T) {
	front, back := openLive(t)
	v := front.program()
	id := v.order().String()
	pin := texted(t, back, theirs)
	var got told
	for range flow.WebTries {
		decode(t, v.post("/orders/"+id+"/pin", "pin", other(pin)), 422, &got)
	}
	if !strings.Contains(got.Detail, "Reply to our text") {
		t.Errorf("the last try: %q", got.Detail)
	}
	decode(t, v.post("/orders/"+id+"/pin", "pin", pin), 422, &got)
	if got.Tries != 0 || !strings.Contains(got.Detail, "No tries are left for it on this page") {
		t.Errorf("the right PIN, too late: %+v", got)
	}
	// By text it still may be given.
	if res := v.hook("/webhooks/twilio/message", inbound("To", flowtest.ShopSender, "Body", "it is "+pin)); !strings.Contains(res.body, "<Message>") {
		t.Errorf("the reply is answered %s", res.body)
	}
	var end view
	decode(t, v.get("/orders/"+id+"/complete"), 200, &end)
	if end.State != flow.Confirmed {
		t.Errorf("ended as %+v", end)
	}
}

func TestAReplyProvesAnUnfinishedForm(t *testing.T) {
	front, back := openLive(t)
	v := front.visitor()
	id := strings.TrimPrefix(v.post("/pin", "mobile_number", theirs).Header.Get("Location"), "/orders/")
	pin := texted(t, back, theirs)
	v.hook("/webhooks/twilio/message", inbound("To", flowtest.ShopSender, "Body", pin))
	if page := v.get("/orders/" + id); !strings.Contains(page.text, "we have your reply") {
		t.Errorf("the page: %s", page.text)
	}
	res := v.post("/orders", "order", id, "name", "Ada", "address", "12 St James Square", "items", "1 engine")
	if res.StatusCode != 303 || !strings.HasSuffix(res.Header.Get("Location"), "/complete") {
		t.Errorf("Place order: %d: %s", res.StatusCode, res.text)
	}
}

func TestAnExpiredPIN(t *testing.T) {
	front, back := openLive(t)
	v := front.visitor()
	id := v.order().String()
	pin := texted(t, back, theirs)
	back.Pass(back.Rules.PINTTL)
	if res := v.post("/orders/"+id+"/pin", "pin", pin); res.StatusCode != 422 || !strings.Contains(res.text, "That PIN has expired. Get a new one.") || !strings.Contains(res.text, ">Get a new PIN<") {
		t.Errorf("got %d: %s", res.StatusCode, res.text)
	}
	if res := v.post("/pin", "order", id); res.StatusCode != 303 {
		t.Errorf("a new one: %d: %s", res.StatusCode, res.text)
	}
	if renewed := texted(t, back, theirs); renewed == pin {
		t.Error("the new PIN is the old one")
	}
}

func TestANumberThatOptedOut(t *testing.T) {
	front, back := openLive(t)
	v := front.program()
	v.hook("/webhooks/twilio/message", inbound("To", flowtest.ShopSender, "Body", "STOP"))
	var got told
	decode(t, v.post("/pin", "mobile_number", theirs), 422, &got)
	if got.Field != "mobile_number" || !strings.Contains(got.Detail, "Text START to "+flowtest.ShopSender) {
		t.Errorf("got %+v", got)
	}
	back.SendAll()
	if n := len(back.Sender.Taken()); n != 0 {
		t.Errorf("%d texts were sent to it", n)
	}
	v.hook("/webhooks/twilio/message", inbound("To", flowtest.ShopSender, "Body", "START", "MessageSid", "SM00000000000000000000000000000001"))
	if pin := texted(t, back, theirs); pin == "" {
		t.Error("START texts nothing")
	}
}

func TestARealLivePage(t *testing.T) {
	front, back := openLive(t)
	front.lookEvery = time.Hour // so that only the desk can wake it
	v := front.visitor()
	id := v.order()
	live := v.follow(t, id)
	if got, _ := live.next(); got.MessageSID != nil || got.Text != "queued" {
		t.Errorf("before Twilio answers: %+v", got)
	}
	pin := texted(t, back, theirs)
	if got, _ := live.next(); got.MessageSID == nil {
		t.Errorf("after: %+v", got)
	}
	v.hook("/webhooks/twilio/status", receipt("MessageSid", back.Sender.Taken()[0].SID, "MessageStatus", "delivered", "From", flowtest.ShopSender))
	if got, _ := live.next(); got.Text != "delivered" {
		t.Errorf("after the receipt: %+v", got)
	}
	v.hook("/webhooks/twilio/message", inbound("To", flowtest.ShopSender, "Body", pin))
	if got, _ := live.next(); got.State != flow.Confirmed {
		t.Errorf("after the reply: %+v", got)
	}
	if _, more := live.next(); more {
		t.Error("the stream goes on")
	}
}
