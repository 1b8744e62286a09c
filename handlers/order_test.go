package handlers

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// A problem of RFC 9457, as ours are.
type told struct {
	Type, Title, Detail, Field string
	Status                     int
	Errors                     []problem
	Order                      string
	State                      flow.State
	Tries                      int
}

func TestAskingForAPIN(t *testing.T) {
	s := open(t)
	v := s.visitor()
	res := v.post("/pin", "mobile_number", theirs, "name", " Ada ")
	at := res.Header.Get("Location")
	if res.StatusCode != http.StatusSeeOther || !strings.HasPrefix(at, "/orders/") {
		t.Fatalf("POST /pin = %d to %q, want 303 to the order", res.StatusCode, at)
	}
	page := v.get(at)
	if page.StatusCode != http.StatusOK {
		t.Fatalf("GET %s = %d", at, page.StatusCode)
	}
	for _, want := range []string{`value="Ada"`, "+1••••••••71", "on its way", "KPW284", `value="` + strings.TrimPrefix(at, "/orders/")} {
		if !strings.Contains(page.text, want) {
			t.Errorf("the order's page lacks %q", want)
		}
	}
	if strings.Contains(page.text, theirs) {
		t.Error("the order's page shows the whole number")
	}

	// Again from there, the order stays the same.
	id := strings.TrimPrefix(at, "/orders/")
	if again := v.post("/pin", "order", id).Header.Get("Location"); again != at {
		t.Errorf("Get PIN again leads to %q, want %q", again, at)
	}
}

func TestAskingForAPINInJSON(t *testing.T) {
	v := open(t).program()
	res := v.post("/pin", "mobile_number", theirs)
	var got map[string]any
	decode(t, res, http.StatusAccepted, &got)
	if uuid.Validate(fmt.Sprint(got["order"])) != nil {
		t.Errorf("order = %v, want its id", got["order"])
	}
	delete(got, "order")
	want := map[string]any{
		"state": "asked", "message_sid": messageSID, "resend_after": 30.0, "expires_at": "2026-03-02T09:30:00Z",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTheSIDIsNullUntilTwilioAnswers(t *testing.T) {
	s := open(t)
	s.desk.asked = func(st *flow.Standing) { st.Text = flow.Message{ID: uuid.Must(uuid.NewV7()), State: flow.Leased} }
	if res := s.program().post("/pin", "mobile_number", theirs); !strings.Contains(res.body, `"message_sid":null`) {
		t.Errorf("got %s", res.body)
	}
}

// Whatever Ask leaves to be told of a number is told at once.
func TestANumberThatCannotBeTexted(t *testing.T) {
	for _, tt := range []struct {
		name   string
		class  flow.Class
		opted  bool
		status int
		says   string
	}{
		{"a landline", flow.ClassNumber, false, 422, "landline"},
		{"one that opted out at Twilio", flow.ClassOptedOut, false, 422, "Text START to " + ourNumber},
		{"one that opted out here", flow.ClassNone, true, 422, "Text START to " + ourNumber},
		{"one of a country that our account may not text", flow.ClassCountry, false, 422, "country"},
		{"one that the carrier does not reach", flow.ClassCarrier, false, 422, "did not get through"},
		{"one whose text came too late", flow.ClassExpired, false, 422, "expired"},
		{"any, while our account is set up wrong", flow.ClassConfig, false, 503, "cannot send texts"},
		{"any, while Twilio suspects pumping", flow.ClassFraud, false, 503, "cannot send texts"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			s.desk.asked = func(st *flow.Standing) {
				st.Conversation.State, st.Conversation.Failure, st.OptedOut = flow.Unreachable, tt.class, tt.opted
			}
			res := s.program().post("/pin", "mobile_number", theirs)
			var got told
			decode(t, res, tt.status, &got)
			if !strings.Contains(got.Detail, tt.says) {
				t.Errorf("says %q, want something about %q", got.Detail, tt.says)
			}
			if tt.status == 422 && got.Field != "mobile_number" {
				t.Errorf("blames %q", got.Field)
			}
			if tt.status == 503 && res.Header.Get("Retry-After") == "" {
				t.Error("does not say when to come back")
			}
			if got.State != flow.Unreachable || uuid.Validate(got.Order) != nil {
				t.Errorf("the order that was kept is told as %q, %q", got.Order, got.State)
			}

			page := s.visitor().post("/pin", "mobile_number", theirs, "name", "Ada")
			if page.StatusCode != tt.status || !strings.Contains(page.text, tt.says) || !strings.Contains(page.text, `value="Ada"`) {
				t.Errorf("the browser's page: %d, %s", page.StatusCode, page.body)
			}
		})
	}
}

func TestOptingInAgainAtAMessagingService(t *testing.T) {
	s := open(t, func(c *Config) { c.Sender = "MG0123456789abcdef0123456789abcdef" })
	s.desk.asked = func(st *flow.Standing) { st.Conversation.State, st.OptedOut = flow.Unreachable, true }
	res := s.program().post("/pin", "mobile_number", theirs)
	if strings.Contains(res.body, "MG0") || !strings.Contains(res.body, "Reply START to one of our texts") {
		t.Errorf("got %s", res.body)
	}
}

func TestPlacingAnOrder(t *testing.T) {
	s := open(t)
	v := s.visitor()
	id := v.order().String()
	whole := []string{"order", id, "name", "Ada", "address", "12 St James Square", "items", "1 engine & <more>", "mobile_number", theirs}
	place := func(pin string) reply { return v.post("/orders", append(slices.Clone(whole), "pin", pin)...) }

	for _, tt := range []struct {
		name, pin, says string
	}{
		{"a wrong PIN", "000000", "Invalid PIN! 4 tries left."},
		{"one that is too short takes no try", "4829", "Invalid PIN! The PIN is 6 numbers."},
		{"wrong again", "000000", "Invalid PIN! 3 tries left."},
		{"and again", "000000", "Invalid PIN! 2 tries left."},
		{"and again, which leaves one", "000000", "Invalid PIN! 1 try left."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := place(tt.pin)
			if res.StatusCode != http.StatusUnprocessableEntity {
				t.Fatalf("status = %d", res.StatusCode)
			}
			for _, want := range []string{
				tt.says, "<title>Error: ", "There is a problem", `href="#pin"`, `aria-invalid="true"`,
				`value="Ada"`, "12 St James Square", "1 engine &amp; &lt;more&gt;", id,
			} {
				if !strings.Contains(res.body, want) {
					t.Errorf("the form lacks %q", want)
				}
			}
			if strings.Contains(res.body, tt.pin) {
				t.Error("the form repeats a wrong PIN")
			}
		})
	}

	for _, what := range []string{"right", "sent twice"} {
		res := place("482 913")
		if at := res.Header.Get("Location"); res.StatusCode != http.StatusSeeOther || at != "/orders/"+id+"/complete" {
			t.Errorf("the PIN, %s: %d to %q, want 303 to the end", what, res.StatusCode, at)
		}
	}
	end := v.get("/orders/" + id + "/complete")
	if end.StatusCode != http.StatusOK || !strings.Contains(end.body, "Order confirmed") || !strings.Contains(end.body, "1 engine &amp; &lt;more&gt;") {
		t.Errorf("the end is %d: %s", end.StatusCode, end.body)
	}
	if at := v.get("/orders/" + id).Header.Get("Location"); at != "/orders/"+id+"/complete" {
		t.Errorf("the page of a confirmed order leads to %q", at)
	}
}

func TestPINsThatAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name     string
		standing func(*flow.Standing)
		says     string
		button   string
	}{
		{"expired", func(st *flow.Standing) { st.Live = false }, "That PIN has expired. Get a new one.", "Get a new PIN"},
		{"the page's last try", func(st *flow.Standing) { st.Tries = 1 }, "Reply to our text with the PIN", "Get PIN again"},
		{"the last try of all", func(st *flow.Standing) { st.Tries, st.Conversation.Misses = 1, 101 }, "locked now", "Get a new PIN"},
		{"no tries left on the page", func(st *flow.Standing) { st.Tries = 0 }, "No tries are left for it on this page", "Get PIN again"},
		{"locked", func(st *flow.Standing) { st.Tries, st.Conversation.State = 0, flow.Locked }, "Invalid PIN! It is locked", "Get a new PIN"},
		{"merely wrong", func(*flow.Standing) {}, "4 tries left", "Get PIN again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			v := s.visitor()
			id := v.order()
			s.desk.change(id, false, tt.standing)
			res := v.post("/orders/"+id.String()+"/pin", "pin", "000000")
			if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, tt.says) || !strings.Contains(res.body, tt.button) {
				t.Errorf("got %d, want 422, %q and the button %q: %s", res.StatusCode, tt.says, tt.button, res.body)
			}
		})
	}
}

func TestPlacingWithoutAPIN(t *testing.T) {
	t.Run("asks for the first one", func(t *testing.T) {
		s := open(t)
		res := s.visitor().post("/orders", "mobile_number", theirs, "name", "Ada")
		if at := res.Header.Get("Location"); res.StatusCode != http.StatusSeeOther || len(s.desk.orders) != 1 || !strings.HasPrefix(at, "/orders/") {
			t.Errorf("got %d to %q", res.StatusCode, at)
		}
	})
	t.Run("asks for it to be typed where one was texted", func(t *testing.T) {
		s := open(t)
		v := s.visitor()
		id := v.order()
		s.desk.asked = func(*flow.Standing) { t.Error("texted again") }
		res := v.post("/orders", "order", id.String(), "name", "Ada", "address", "x", "items", "1")
		if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, "Type the PIN") {
			t.Errorf("got %d: %s", res.StatusCode, res.body)
		}
	})
	t.Run("confirms where a reply has proved the number", func(t *testing.T) {
		s := open(t)
		v := s.visitor()
		id := v.order()
		s.desk.change(id, false, func(st *flow.Standing) { st.Conversation.Proved = began })
		if page := v.get("/orders/" + id.String()); strings.Contains(page.body, `id="pin"`) || !strings.Contains(page.body, "we have your reply") {
			t.Errorf("the page still asks for the PIN: %s", page.body)
		}
		res := v.post("/orders", "order", id.String(), "address", "elsewhere")
		if at := res.Header.Get("Location"); !strings.HasSuffix(at, "/complete") {
			t.Errorf("got %d to %q", res.StatusCode, at)
		}
	})
}

func TestFieldsThatAreEmpty(t *testing.T) {
	s := open(t)
	v := s.program()
	var asked ticket
	decode(t, v.post("/pin", "mobile_number", theirs, "address", "12 St James Square"), http.StatusAccepted, &asked)
	id := asked.Order.String()

	var got told
	decode(t, v.post("/orders", "order", id, "pin", rightPIN, "name", "  ", "items", ""), http.StatusUnprocessableEntity, &got)
	want := []problem{{"name", "Type your name."}, {"items", "Type what you would like to order."}}
	if !slices.Equal(got.Errors, want) {
		t.Errorf("placing it: %v, want %v", got.Errors, want)
	}

	// The PIN alone proves the number, and the rest is still asked for.
	got = told{}
	decode(t, v.post("/orders/"+id+"/pin", "pin", rightPIN), http.StatusUnprocessableEntity, &got)
	if !slices.Equal(got.Errors, want) {
		t.Errorf("checking the PIN: %v, want %v", got.Errors, want)
	}
	// A PIN that was not looked at need not be typed again.
	page := s.visitor()
	page.order()
	if res := page.post("/orders", "pin", rightPIN, "name", ""); !strings.Contains(res.body, `value="`+rightPIN+`"`) {
		t.Errorf("the PIN is lost: %s", res.body)
	}
}

func TestAnOrderInJSON(t *testing.T) {
	s := open(t)
	v := s.program()
	id := v.order()
	path := "/orders/" + id.String()

	var got view
	decode(t, v.get(path), http.StatusOK, &got)
	want := view{
		ticket:    ticket{Order: id, State: flow.Asked, ResendAfter: 30},
		Reference: "KPW284", Number: "+1••••••••71", Note: "The text with your PIN is on its way.", Text: "queued",
		Tries: 5, Live: true, Complete: true, Deadline: began.Add(72 * time.Hour),
	}
	if got.Entries["items"] != "1 engine" || got.MessageSID == nil || got.ExpiresAt == nil {
		t.Errorf("got %+v", got)
	}
	got.Entries, got.MessageSID, got.ExpiresAt = nil, nil, nil
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got %+v, want %+v", got, want)
	}

	var wrong told
	decode(t, v.post(path+"/pin", "pin", "000000"), http.StatusUnprocessableEntity, &wrong)
	if wrong.Field != "pin" || wrong.Tries != 4 || wrong.Detail != "Invalid PIN! 4 tries left." || wrong.Title != "Unprocessable Entity" || wrong.Status != 422 {
		t.Errorf("a wrong PIN: %+v", wrong)
	}
	decode(t, v.get(path+"/complete"), http.StatusConflict, &wrong)

	for range 2 { // twice is no error
		decode(t, v.post("/orders", "order", id.String(), "pin", rightPIN), http.StatusOK, &got)
		if got.State != flow.Confirmed || got.Order != id {
			t.Errorf("the right PIN: %+v", got)
		}
	}
	decode(t, v.get(path+"/complete"), http.StatusOK, &got)
}

func TestResendingRenumberingDeclining(t *testing.T) {
	s := open(t)
	v := s.visitor()
	id := v.order()
	path := "/orders/" + id.String()

	res := v.send(http.MethodPost, path+"/resend", "", "")
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "30" || !strings.Contains(res.body, "Please wait a little") {
		t.Errorf("a resend too soon: %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
	}
	s.desk.change(id, false, func(st *flow.Standing) { st.ResendAfter = 0 })
	if res := v.send(http.MethodPost, path+"/resend", "", ""); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != path {
		t.Errorf("a resend: %d to %q", res.StatusCode, res.Header.Get("Location"))
	}

	res = v.post(path+"/number", "mobile_number", "12")
	if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(res.body, "<details open>") || !strings.Contains(res.body, `value="12"`) {
		t.Errorf("a bad new number: %d: %s", res.StatusCode, res.body)
	}
	if res := v.post(path+"/number", "mobile_number", "+14155552672"); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != path {
		t.Errorf("a new number: %d to %q", res.StatusCode, res.Header.Get("Location"))
	}
	if page := v.get(path); !strings.Contains(page.text, "+1••••••••72") {
		t.Error("the new number is not on the page")
	}

	if res := v.send(http.MethodPost, path+"/decline", "", ""); res.StatusCode != http.StatusSeeOther {
		t.Errorf("declining: %d", res.StatusCode)
	}
	if page := v.get(path); page.StatusCode != http.StatusOK || !strings.Contains(page.body, "was declined") || strings.Contains(page.body, "<form") {
		t.Errorf("a declined order's page: %d: %s", page.StatusCode, page.body)
	}
	if res := v.get(path + "/complete"); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != path {
		t.Errorf("the end of a declined order: %d to %q", res.StatusCode, res.Header.Get("Location"))
	}
	for _, post := range []string{path + "/pin", path + "/number", path + "/resend", path + "/decline"} {
		if res := v.post(post, "pin", rightPIN, "mobile_number", theirs); res.StatusCode != http.StatusConflict {
			t.Errorf("POST %s of a declined order: %d, want 409", post, res.StatusCode)
		}
	}

	program := s.program()
	other := "/orders/" + program.order().String()
	var got ticket
	decode(t, program.post(other+"/number", "mobile_number", "+14155552673"), http.StatusAccepted, &got)
	decode(t, program.send(http.MethodPost, other+"/decline", "", ""), http.StatusOK, &got)
	if got.State != flow.Declined {
		t.Errorf("declined in JSON: %+v", got)
	}
}

func TestAnOrderIsItsBrowsersOnly(t *testing.T) {
	s := open(t)
	owner, stranger := s.visitor(), s.visitor()
	id := owner.order().String()
	stranger.get("/") // with a cookie of its own

	never := stranger.get("/orders/" + uuid.Must(uuid.NewV7()).String())
	for _, who := range []*visitor{stranger, s.visitor()} {
		for _, r := range []struct{ method, path string }{
			{"GET", "/orders/" + id}, {"GET", "/orders/" + id + "/complete"}, {"GET", "/orders/" + id + "/live"},
			{"POST", "/orders/" + id + "/pin"}, {"POST", "/orders/" + id + "/resend"},
			{"POST", "/orders/" + id + "/number"}, {"POST", "/orders/" + id + "/decline"},
		} {
			body := ""
			if r.method == "POST" {
				body = "pin=" + rightPIN + "&mobile_number=4155552671"
			}
			res := who.send(r.method, r.path, formType, body)
			if res.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s from elsewhere: %d, want 404", r.method, r.path, res.StatusCode)
			}
			if res.body != never.body {
				t.Errorf("%s %s from elsewhere tells that the order exists", r.method, r.path)
			}
		}
		for _, path := range []string{"/pin", "/orders"} {
			if res := who.post(path, "order", id, "pin", rightPIN, "mobile_number", theirs, "name", "x", "address", "x", "items", "x"); res.StatusCode != http.StatusNotFound {
				t.Errorf("POST %s about another's order: %d, want 404", path, res.StatusCode)
			}
		}
	}
}

// One order has one address: caches, logs and links agree on it.
func TestAnIDHasOneSpelling(t *testing.T) {
	v := open(t).visitor()
	id := v.order().String()
	for _, spelling := range []string{
		strings.ToUpper(id), "{" + id + "}", "urn:uuid:" + id, strings.ReplaceAll(id, "-", ""), id + "%20",
	} {
		if res := v.get("/orders/" + spelling); res.StatusCode != http.StatusNotFound {
			t.Errorf("GET /orders/%s: %d, want 404", spelling, res.StatusCode)
		}
	}
	if res := v.get("/orders/" + id); res.StatusCode != http.StatusOK {
		t.Errorf("GET /orders/%s: %d", id, res.StatusCode)
	}
}
