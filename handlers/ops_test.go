package handlers

import (
	"bytes"
	"errors"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

// An office is the ops pages of a shop at work.
type office struct {
	*flowtest.Shop
	t     *testing.T
	books *flowtest.Ledger
	ops   *Ops
	log   bytes.Buffer
}

func newOffice(t *testing.T, change ...func(*flow.Rules)) *office {
	t.Helper()
	o := &office{t: t, books: flowtest.NewLedger()}
	o.Shop = flowtest.NewShop(t, o.books)
	for _, change := range change {
		change(&o.Rules)
		o.Restart()
	}
	var err error
	o.ops, err = NewOps(OpsConfig{
		Desk: o.Desk, Ledger: o.books, Class: o.Sender.Class, Rules: o.Rules,
		Settings: []Setting{{"SHOP_NAME", "Acme", "Named in every text."}},
		Log:      slog.New(slog.NewTextHandler(&o.log, nil)), Now: o.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// order asks for a PIN from a browser of its own, and texts it.
func (o *office) order(typed string) flow.Conversation {
	o.t.Helper()
	st, err := o.Desk.Ask(o.t.Context(), flow.Asking{Browser: flow.Browser(uuid.New()), Typed: typed, Entries: []flow.Entry{
		{Field: "name", Value: "Ada Lovelace"}, {Field: "address", Value: "here"}, {Field: "items", Value: "tea"},
	}})
	if err != nil {
		o.t.Fatal(err)
	}
	o.SendAll()
	return st.Conversation
}

// hears has a customer text us.
func (o *office) hears(from flow.Number, body string) {
	o.t.Helper()
	if _, err := o.Desk.Hear(o.t.Context(), flow.Heard{SID: "SM" + strings.ReplaceAll(uuid.NewString(), "-", ""), Line: o.Line(from), Body: body}); err != nil {
		o.t.Fatal(err)
	}
}

// lastText is the latest text to a number.
func (o *office) lastText(to flow.Number) string {
	for _, t := range slices.Backward(o.Sender.Taken()) {
		if t.To == to {
			return t.Body
		}
	}
	o.t.Fatal("nothing was texted")
	return ""
}

// listener answers as the private one does.
func (o *office) listener() http.Handler { return Follow(o.ops, nil, o.ops.Log, o.Now) }

// do asks for a page; fields make it a POST, as from a form of ours.
func (o *office) do(method, path string, fields url.Values) *httptest.ResponseRecorder {
	o.t.Helper()
	r := httptest.NewRequestWithContext(o.t.Context(), method, "http://localhost:9091"+path, strings.NewReader(fields.Encode()))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	w := httptest.NewRecorder()
	o.listener().ServeHTTP(w, r)
	return w
}

// page is a page that must be there, as text.
func (o *office) page(path string) string {
	o.t.Helper()
	w := o.do(http.MethodGet, path, nil)
	if w.Code != http.StatusOK {
		o.t.Fatalf("GET %s: %d\n%s", path, w.Code, w.Body)
	}
	return html.UnescapeString(w.Body.String())
}

func (o *office) post(path string, fields url.Values) *httptest.ResponseRecorder {
	o.t.Helper()
	return o.do(http.MethodPost, path, fields)
}

func (o *office) has(what, page string, wants ...string) {
	o.t.Helper()
	for _, want := range wants {
		if !strings.Contains(page, want) {
			o.t.Errorf("%s lacks %q:\n%s", what, want, page)
		}
	}
}

// linked are the ops pages that a page links to.
func linked(page string) []string {
	var paths []string
	for _, m := range regexp.MustCompile(`href="(/ops/[^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.Contains(m[1], "/static/") {
			paths = append(paths, html.UnescapeString(m[1]))
		}
	}
	return paths
}

const phone, typedPhone = flow.Number("+14155552671"), "(415) 555-2671"

// Nothing that is one link away from anything tells a number or a PIN.
func TestOpsPagesMaskNumbersAndTellNoPIN(t *testing.T) {
	o := newOffice(t)
	o.order(typedPhone)
	pin := flowtest.PINOf(o.lastText(phone))
	if pin == "" {
		t.Fatal("no PIN was texted")
	}
	o.hears(phone, pin)
	o.order("415-555-2672")
	o.hears("+14155552672", "999999")
	seen := map[string]bool{}
	for todo := []string{"/ops/"}; len(todo) > 0; todo = todo[1:] {
		path := todo[0]
		if seen[path] {
			continue
		}
		seen[path] = true
		page := o.page(path)
		for _, secret := range []string{pin, "4155552671", "4155552672", "Ada Lovelace"} {
			if strings.Contains(page, secret) {
				t.Errorf("%s tells %q", path, secret)
			}
		}
		if strings.Contains(page, "<script") || strings.Contains(page, " style=") {
			t.Errorf("%s has a script, or a style that the policy forbids", path)
		}
		todo = append(todo, linked(page)...)
	}
	for _, path := range []string{"/ops/texts", "/ops/outbox", "/ops/flow", "/ops/settings", "/ops/?state=confirmed"} {
		if !seen[path] {
			t.Errorf("nothing links to %s", path)
		}
	}
	if len(seen) < 10 {
		t.Errorf("only %d pages were seen", len(seen))
	}
}

func TestOpsNumberIsShownByPostAndLogged(t *testing.T) {
	o := newOffice(t)
	c := o.order(typedPhone)
	w := o.post("/ops/orders/"+c.ID.String()+"/number", nil)
	if w.Code != http.StatusOK || !strings.Contains(html.UnescapeString(w.Body.String()), phone.E164()) {
		t.Errorf("the number is not shown: %d\n%s", w.Code, w.Body)
	}
	log := o.log.String()
	if !strings.Contains(log, "number revealed") || !strings.Contains(log, c.ID.String()) {
		t.Errorf("the log does not tell of it: %s", log)
	}
	if strings.Contains(log, "4155552671") {
		t.Errorf("the log holds the number: %s", log)
	}
	if w := o.do(http.MethodGet, "/ops/orders/"+c.ID.String()+"/number", nil); w.Code == http.StatusOK {
		t.Error("a GET shows the number")
	}
	if strings.Contains(o.page("/ops/orders/"+c.ID.String()), phone.E164()) {
		t.Error("once shown, it stays shown")
	}
}

func TestOpsFinds(t *testing.T) {
	o := newOffice(t)
	c := o.order(typedPhone)
	o.Pass(time.Second)
	other := o.order("415 555 2672")
	message, err := o.books.Message(t.Context(), o.books.Messages()[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	order := "/ops/orders/" + c.ID.String()
	for _, tt := range []struct{ name, typed, want string }{
		{"an order by its id", c.ID.String(), order},
		{"a text by its id, as the log has it", message.ID.String(), order},
		{"a text by Twilio's sid", " " + message.SID + " ", order},
		{"orders by reference", c.Named.Reference, "/ops/?reference=" + c.Named.Reference},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := o.post("/ops/find", url.Values{"q": {tt.typed}})
			if got := w.Header().Get("Location"); w.Code != http.StatusSeeOther || got != tt.want {
				t.Errorf("%d to %q, want %q", w.Code, got, tt.want)
			}
		})
	}
	for _, typed := range []string{phone.E164(), typedPhone} {
		t.Run("a number typed as "+typed[:2]+"…", func(t *testing.T) {
			w := o.post("/ops/find", url.Values{"q": {typed}})
			page := html.UnescapeString(w.Body.String())
			o.has("the list", page, c.Named.Reference, "Texts to this number", "1 of 5 in 24 h")
			if w.Code != http.StatusOK || strings.Contains(page, other.Named.Reference) {
				t.Errorf("%d, or another number's order is listed", w.Code)
			}
		})
	}
	for _, tt := range []struct {
		name, typed string
		status      int
	}{
		{"nothing", "", http.StatusUnprocessableEntity},
		{"what is none of these", "<script>", http.StatusUnprocessableEntity},
		{"a sid that is not ours", "SM00000000000000000000000000000000", http.StatusNotFound},
		{"too much", strings.Repeat("A", 10_000), http.StatusUnprocessableEntity},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if w := o.post("/ops/find", url.Values{"q": {tt.typed}}); w.Code != tt.status {
				t.Errorf("%d, want %d", w.Code, tt.status)
			}
		})
	}
}

func TestOpsListsPageByPage(t *testing.T) {
	o := newOffice(t)
	for range flow.SearchLimit + 1 {
		c := o.order(typedPhone)
		if err := o.Desk.DeclineFor(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
		o.Pass(24 * time.Hour)
	}
	count := func(page string) int { return strings.Count(page, `href="/ops/orders/`) }
	first := o.page("/ops/?state=declined")
	older := regexp.MustCompile(`href="([^"]*before=[^"]*)"`).FindStringSubmatch(first)
	if count(first) != flow.SearchLimit || older == nil {
		t.Fatalf("the first page has %d orders, and leads on by %q", count(first), older)
	}
	if last := o.page(older[1]); count(last) != 1 || strings.Contains(last, "before=") {
		t.Errorf("the last page has %d orders:\n%s", count(last), last)
	}
	// The same by number, whose pages are asked for by POST.
	page := html.UnescapeString(o.post("/ops/find", url.Values{"q": {typedPhone}}).Body.String())
	before := regexp.MustCompile(`name="before" value="([^"]*)"`).FindStringSubmatch(page)
	if count(page) != flow.SearchLimit || before == nil {
		t.Fatalf("the first page by number has %d orders, and leads on by %q", count(page), before)
	}
	page = o.post("/ops/find", url.Values{"q": {typedPhone}, "before": {before[1]}}).Body.String()
	if count(page) != 1 {
		t.Errorf("the last page by number has %d orders", count(page))
	}
}

func TestOpsShowsATimeline(t *testing.T) {
	o := newOffice(t)
	c := o.order(typedPhone)
	o.Pass(time.Minute)
	o.hears(phone, "my pin is 000000")
	m := o.books.Messages()[0]
	if err := o.Desk.Receipt(t.Context(), flow.Receipt{Message: m.ID, SID: m.SID, Status: flow.StatusUndelivered, Code: 30003}); err != nil {
		t.Fatal(err)
	}
	o.has("the timeline", o.page("/ops/orders/"+c.ID.String()),
		"customer, on the page", "asked for a PIN: new → asked",
		"text of PIN 1: undelivered", m.SID,
		"texted; read as pin", "answered: Acme: that is not the PIN",
		"a wrong PIN", "receipt: undelivered", "errors/30003",
		"the text did not get there: asked → unreachable",
		"5 on the page, 2 by reply", "would let a text pass now",
	)
}

func TestOpsByHand(t *testing.T) {
	t.Run("a resend texts again, and is in the timeline", func(t *testing.T) {
		o := newOffice(t)
		c := o.order(typedPhone)
		o.Pass(time.Minute)
		path := "/ops/orders/" + c.ID.String()
		if w := o.post(path+"/resend", nil); w.Code != http.StatusSeeOther || w.Header().Get("Location") != path {
			t.Fatalf("%d to %s", w.Code, w.Header().Get("Location"))
		}
		o.SendAll()
		if n := len(o.books.Messages()); n != 2 {
			t.Errorf("%d texts were written, want 2", n)
		}
		o.has("the timeline", o.page(path), "ops, by hand", "the PIN again")
	})
	t.Run("the guard still applies, and its refusal is in the timeline", func(t *testing.T) {
		o := newOffice(t)
		c := o.order(typedPhone)
		o.hears(phone, "STOP")
		path := "/ops/orders/" + c.ID.String()
		w := o.post(path+"/resend", nil)
		if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "told us to stop") {
			t.Errorf("%d\n%s", w.Code, w.Body)
		}
		o.has("the timeline", o.page(path), "the guard refused a text", "opted_out", "refuses a text: its owner told us to stop")
		if n := len(o.books.Messages()); n != 1 {
			t.Errorf("%d texts were written, want 1", n)
		}
	})
	t.Run("a spent day is in the timeline too", func(t *testing.T) {
		o := newOffice(t, func(r *flow.Rules) { r.Guard.PerDay = 1 })
		c := o.order(typedPhone)
		o.Pass(time.Minute)
		path := "/ops/orders/" + c.ID.String()
		if w := o.post(path+"/resend", nil); w.Code != http.StatusServiceUnavailable {
			t.Errorf("%d\n%s", w.Code, w.Body)
		}
		o.has("the timeline", o.page(path), "the guard refused a text", "day, for ")
	})
	t.Run("a decline ends the order, once", func(t *testing.T) {
		o := newOffice(t)
		c := o.order(typedPhone)
		path := "/ops/orders/" + c.ID.String()
		if w := o.post(path+"/decline", nil); w.Code != http.StatusSeeOther {
			t.Fatalf("%d\n%s", w.Code, w.Body)
		}
		page := o.page(path)
		o.has("the timeline", page, "ops, by hand", "declined: asked → declined")
		if strings.Contains(page, "/resend") {
			t.Error("an order that has ended can be resent")
		}
		for _, what := range []string{"/decline", "/resend"} {
			if w := o.post(path+what, nil); w.Code != http.StatusConflict {
				t.Errorf("%s once more: %d, want 409", what, w.Code)
			}
		}
	})
	t.Run("nothing is done for another site, or by GET", func(t *testing.T) {
		o := newOffice(t)
		c := o.order(typedPhone)
		o.Pass(time.Minute)
		for _, what := range []string{"resend", "decline", "number"} {
			path := "/ops/orders/" + c.ID.String() + "/" + what
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost:9091"+path, nil)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			w := httptest.NewRecorder()
			o.listener().ServeHTTP(w, r)
			if w.Code != http.StatusForbidden {
				t.Errorf("%s for another site: %d, want 403", what, w.Code)
			}
			if w := o.do(http.MethodGet, path, nil); w.Code != http.StatusNotFound && w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s by GET: %d", what, w.Code)
			}
		}
		if now, _ := o.books.Conversation(t.Context(), c.ID); now.State != flow.Asked || len(o.books.Messages()) != 1 {
			t.Errorf("%v, %d texts", now, len(o.books.Messages()))
		}
	})
}

// From "texts fail" to Twilio's code to an order in two clicks.
func TestOpsFromTextsThatFailToTheOrders(t *testing.T) {
	o := newOffice(t)
	fine := o.order("415 555 2672")
	o.Pass(time.Second)
	c := o.order(typedPhone)
	m := o.books.Messages()[1]
	if err := o.Desk.Receipt(t.Context(), flow.Receipt{Message: m.ID, SID: m.SID, Status: flow.StatusUndelivered, Code: 30007}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(o.page("/ops/texts"), `href="/ops/texts?code=30007"`) {
		t.Fatal("the code is not linked")
	}
	page := o.page("/ops/texts?code=30007")
	o.has("the code's page", page, `href="/ops/orders/`+c.ID.String()+`"`, c.Named.Reference)
	if strings.Contains(page, fine.Named.Reference) {
		t.Error("an order whose text arrived is listed")
	}
	if strings.Contains(o.page("/ops/texts?code=none"), c.Named.Reference) {
		t.Error("a text with a code is listed as one without")
	}
}

// The same in a browser, from the first page, as the runbook has it: no click
// more than these three.
func TestOpsFromTextsThatFailToTheOrdersByThreeClicks(t *testing.T) {
	o := newOffice(t)
	c := o.order(typedPhone)
	m := o.books.Messages()[0]
	if err := o.Desk.Receipt(t.Context(), flow.Receipt{Message: m.ID, SID: m.SID, Status: flow.StatusUndelivered, Code: 30007}); err != nil {
		t.Fatal(err)
	}
	private := httptest.NewServer(o.listener())
	t.Cleanup(private.Close)
	b := (&shop{t: t, url: private.URL}).browse()
	b.do(
		chromedp.Navigate(b.url+"/ops/"),
		chromedp.Click(`//a[text()="Texts that fail"]`),
		chromedp.WaitVisible(`//h1[text()="Texts that fail"]`),
		chromedp.Click(`//main//a[text()="30007"]`),
		chromedp.WaitVisible(`//h1[text()="Texts that fail with 30007"]`),
		chromedp.Click(`//main//a[text()="`+c.Named.Reference+`"]`),
		chromedp.WaitVisible(`//button[text()="Resend PIN"]`),
	)
	if got, want := b.path(), "/ops/orders/"+c.ID.String(); got != want {
		t.Errorf("the third click leads to %s, want %s", got, want)
	}
	if wide := eval[int](b, `document.documentElement.scrollWidth`); wide > 390 {
		t.Errorf("on a phone the page is %d px wide", wide)
	}
}

func TestOpsOutbox(t *testing.T) {
	o := newOffice(t)
	o.Sender.Refuse(&flow.SendError{Class: flow.ClassRetry, Code: 20429, RetryAfter: time.Hour, Err: errors.New("busy")})
	c := o.order(typedPhone)
	m := o.books.Messages()[0]
	o.has("the outbox", o.page("/ops/outbox"), "retrying", "20429", c.Named.Reference, "Try now", "0 leased, 1 waiting")
	try := "/ops/outbox/" + m.ID.String() + "/try"
	if w := o.post(try, nil); w.Code != http.StatusSeeOther {
		t.Fatalf("Try now: %d\n%s", w.Code, w.Body)
	}
	page := o.page("/ops/outbox")
	o.has("the outbox", page, ">due<")
	if strings.Contains(page, "Try now") {
		t.Error("what is due can be tried again")
	}
	o.SendAll()
	o.has("the outbox", o.page("/ops/outbox"), "Nothing is on its way out")
	if w := o.post(try, nil); w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "no longer waits") {
		t.Errorf("once more: %d\n%s", w.Code, w.Body)
	}
}

func TestOpsOutboxShowsTheDead(t *testing.T) {
	o := newOffice(t)
	o.Sender.Refuse(&flow.SendError{Class: flow.ClassNumber, Code: 21211, Err: errors.New("no")})
	c := o.order(typedPhone)
	_, dead, _ := strings.Cut(o.page("/ops/outbox"), "Dead, of late")
	o.has("the dead", dead, c.Named.Reference, "21211")
}

func TestOpsDrawsTheFlow(t *testing.T) {
	o := newOffice(t)
	for _, typed := range []string{typedPhone, "415 555 2672", "415 555 2673"} {
		o.order(typed)
	}
	o.hears(phone, flowtest.PINOf(o.lastText(phone)))
	page := o.page("/ops/flow?every=10")
	o.has("the drawing", page, "new → asked: ordered 3", "asked → confirmed: matched 1", "asked · 2", `http-equiv="refresh" content="10"`)
	if got, want := strings.Count(page, `class="arrow `), len(flow.Confirmation.Arrows()); got != want {
		t.Errorf("%d arrows are drawn, want %d", got, want)
	}
	for _, every := range []string{"0", "1", "-5", "x", "99999"} {
		if strings.Contains(o.page("/ops/flow?every="+every), "refresh") {
			t.Errorf("the page asks again every %q", every)
		}
	}
}

func TestOpsArrowsTouchTheirBoxesAlone(t *testing.T) {
	for _, a := range flow.Confirmation.Arrows() {
		c := curve(at(a.From), at(a.To))
		for s, place := range places {
			b := place
			b.W, b.H = boxWidth, boxHeight
			if s == flow.New {
				continue
			}
			for i := range 101 {
				if s != a.From && s != a.To && inside(b, c, float64(i)/100) {
					t.Errorf("%s → %s runs through %s", a.From, a.To, s)
					break
				}
			}
		}
	}
}

func TestOpsRefuses(t *testing.T) {
	o := newOffice(t)
	for _, tt := range []struct {
		name, method, path string
		status             int
	}{
		{"an order that is not there", "GET", "/ops/orders/" + flowtest.NewID(began).String(), 404},
		{"an id that is none", "GET", "/ops/orders/1", 404},
		{"a state that is none", "GET", "/ops/?state=lost", 404},
		{"a page after what is no id", "GET", "/ops/?before=x", 404},
		{"a code that is none", "GET", "/ops/texts?code=x", 404},
		{"a code that is longer than any", "GET", "/ops/texts?code=2147483648", 404},
		{"a reference that PostgreSQL could not read", "GET", "/ops/?reference=%00", 404},
		{"a reference that is no text", "GET", "/ops/?reference=%ff", 404},
		{"a page that is not there", "GET", "/ops/nothing", 404},
		{"a page by a method that it does not take", "DELETE", "/ops/", 405},
		{"a resend that is looked at", "GET", "/ops/orders/" + flowtest.NewID(began).String() + "/resend", 405},
		{"a search that is looked at", "GET", "/ops/find", 405},
		{"a path that is not clean", "GET", "/ops//orders", 404},
		{"a file that is not there", "GET", "/ops/static/layout.html", 404},
		{"a resend of no order", "POST", "/ops/orders/" + flowtest.NewID(began).String() + "/resend", 404},
		{"a number of no order", "POST", "/ops/orders/" + flowtest.NewID(began).String() + "/number", 404},
		{"a try of no text", "POST", "/ops/outbox/" + flowtest.NewID(began).String() + "/try", 409},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := o.do(tt.method, tt.path, nil)
			if w.Code != tt.status {
				t.Errorf("%d, want %d", w.Code, tt.status)
			}
			if strings.Contains(w.Body.String(), "browser") {
				t.Errorf("it tells ops what a customer is told: %s", w.Body)
			}
			if allow := w.Header().Get("Allow"); (w.Code == 405) != (allow != "") {
				t.Errorf("Allow: %s", allow)
			}
			if to := w.Header().Get("Location"); to != "" {
				t.Errorf("Location: %s", to)
			}
			if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "script-src") {
				t.Errorf("Content-Security-Policy: %s", csp)
			}
			if strings.Contains(tt.path, "/static/") {
				return
			}
			if cache := w.Header().Get("Cache-Control"); cache != "no-store" {
				t.Errorf("Cache-Control: %s", cache)
			}
		})
	}
}

// What ops ask is logged as what customers ask is: by the route's pattern,
// under the id that the answer has, and so is what it leads to.
func TestOpsRequestsAreLogged(t *testing.T) {
	o := newOffice(t)
	o.ops.Log = slog.New(Logged(slog.NewTextHandler(&o.log, nil)))
	order := "/ops/orders/" + o.order("(415) 555-0123").ID.String()
	for _, tt := range []struct {
		name, method, path string
		fields             url.Values
		lines              []string
	}{
		{"a list", "GET", "/ops/?state=asked", nil, []string{"msg=request route=/ops/ method=GET status=200 took="}},
		{"a search", "POST", "/ops/find", url.Values{"q": {"+14155550123"}}, []string{"msg=request route=/ops/find method=POST status=200 took="}},
		{"by hand", "POST", order + "/decline", nil, []string{`msg="ops by hand" what=decline`, "msg=request route=/ops/orders/{id}/decline method=POST status=303 took="}},
		{"nothing", "GET", "/ops/4155550123", nil, []string{`msg=request route="" method=GET status=404 took=`}},
		{"a method of nobody's", "4155550123", "/ops/", nil, []string{`msg=request route="" method=other status=405 took=`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o.log.Reset()
			id := o.do(tt.method, tt.path, tt.fields).Header().Get("X-Request-Id")
			if len(id) != 26 {
				t.Errorf("X-Request-Id: %q", id)
			}
			lines := strings.Split(strings.TrimSpace(o.log.String()), "\n")
			if len(lines) != len(tt.lines) {
				t.Fatalf("%d lines, want %d:\n%s", len(lines), len(tt.lines), o.log.String())
			}
			for i, want := range tt.lines {
				if !strings.Contains(lines[i], want) || !strings.HasSuffix(lines[i], " request_id="+id) {
					t.Errorf("%s\nis not %s … of %s", lines[i], want, id)
				}
			}
			if strings.Contains(o.log.String(), "4155550123") {
				t.Errorf("the log holds what was typed: %s", o.log.String())
			}
		})
	}
}
