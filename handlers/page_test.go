package handlers

import (
	"context"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/uuid"

	"github.com/countersign/countersign/flow"
)

// A tab is a real browser's, at the shop.
type tab struct {
	*shop
	ctx context.Context
}

// chromium starts a browser, once for all tests. It keeps to this machine.
var chromium = sync.OnceValue(func() context.Context {
	opts := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	for _, flag := range []string{
		"no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
		"disable-background-networking", "disable-component-update", "disable-sync",
	} {
		opts = append(opts, chromedp.Flag(flag, true))
	}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	stopChromium = stop
	ctx, _ = chromedp.NewContext(ctx) // ends with the allocator's
	return ctx
})

var stopChromium = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	stopChromium()
	os.Exit(code)
}

// browse opens a tab with cookies of its own, as wide as a phone.
func (s *shop) browse() *tab {
	s.t.Helper()
	if err := chromedp.Do(chromium()); err != nil {
		s.t.Fatalf("start chromium: %v", err)
	}
	ctx, cancel := chromedp.NewContext(chromium(), chromedp.WithNewBrowserContext())
	s.t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, time.Minute)
	s.t.Cleanup(cancel)
	b := &tab{s, ctx}
	b.do(chromedp.EmulateViewport(390, 844))
	return b
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns what an expression is on the page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	got, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return got
}

// await waits until an expression is true on the page, or on the one that
// comes after it.
func (b *tab) await(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	for {
		_, err := chromedp.Run(ctx, chromedp.Poll[bool](expression))
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			b.t.Fatalf("never came true: %s; the page is %s", expression, eval[string](b, "document.body.innerText"))
		}
		// The page was left while we looked at it.
	}
}

// fill types a whole order.
func (b *tab) fill() {
	b.t.Helper()
	b.do(
		chromedp.Navigate(b.url+"/"),
		chromedp.SendKeys("#name", "Ada"),
		chromedp.SendKeys("#address", "12 St James Square"),
		chromedp.SendKeys("#items", "1 engine"),
		chromedp.SendKeys("#mobile_number", "(415) 555-2671"),
	)
}

func (b *tab) path() string {
	b.t.Helper()
	at, err := chromedp.Run(b.ctx, chromedp.Location())
	if err != nil {
		b.t.Fatal(err)
	}
	u, err := url.Parse(at)
	if err != nil {
		b.t.Fatal(err)
	}
	return u.Path
}

func TestGetPINKeepsThePage(t *testing.T) {
	b := open(t).browse()
	b.fill()
	b.do(chromedp.Click("#get-pin"))

	b.await(`document.activeElement.id === "pin"`)
	if got := b.path(); got != "/" {
		t.Errorf("Get PIN left the page for %s", got)
	}
	if id := eval[string](b, `document.getElementById("order").value`); uuid.Validate(id) != nil {
		t.Errorf("the form names order %q, not the one just kept", id)
	}
	if got := eval[string](b, `document.getElementById("status").textContent`); !strings.Contains(got, "on its way") {
		t.Errorf("the status says %q", got)
	}
	if got := eval[string](b, `document.getElementById("wait").textContent`); !strings.Contains(got, "again in ") {
		t.Errorf("the countdown says %q", got)
	}
	if !eval[bool](b, `document.getElementById("get-pin").disabled`) {
		t.Error("a text may be asked for while the last one is on its way")
	}

	// A customer who sees a typo in the number need not wait.
	b.do(chromedp.SendKeys("#mobile_number", kb.Backspace))
	b.await(`!document.getElementById("get-pin").disabled`)
}

func TestEnterPlacesTheOrder(t *testing.T) {
	b := open(t).browse()
	b.fill()
	b.do(chromedp.Click("#get-pin"))
	b.await(`document.activeElement.id === "pin"`)
	b.do(chromedp.SendKeys("#pin", "482 913"+kb.Enter))

	b.await(`location.pathname.endsWith("/complete")`)
	b.await(`document.body.innerText.includes("Your order is confirmed")`)
}

func TestEnterInAFieldAsksForThePIN(t *testing.T) {
	// Place order without a PIN, and without an order, asks for one.
	b := open(t).browse()
	b.fill()
	b.do(chromedp.SendKeys("#mobile_number", kb.Enter))
	b.await(`location.pathname.startsWith("/orders/")`)
	b.await(`document.body.innerText.includes("+1••••••••71")`)
}

func TestAWrongPINKeepsEveryEntry(t *testing.T) {
	b := open(t).browse()
	b.fill()
	b.do(chromedp.Click("#get-pin"))
	b.await(`document.activeElement.id === "pin"`)
	b.do(chromedp.SendKeys("#items", " and a loom"), chromedp.SendKeys("#pin", "000000"+kb.Enter))

	b.await(`document.title.startsWith("Error: ")`)
	b.await(`document.activeElement.id === "problems"`)
	for field, want := range map[string]string{"name": "Ada", "address": "12 St James Square", "items": "1 engine and a loom", "pin": ""} {
		if got := eval[string](b, `document.getElementById("`+field+`").value`); got != want {
			t.Errorf("%s = %q, want %q", field, got, want)
		}
	}
	if got := eval[string](b, `document.getElementById("pin-problem").innerText`); got != "Invalid PIN! 4 tries left." {
		t.Errorf("beside the PIN it says %q", got)
	}
	// The summary leads to the field.
	b.do(chromedp.Click(`#problems a`), chromedp.SendKeys("#pin", rightPIN+kb.Enter))
	b.await(`location.pathname.endsWith("/complete")`)
}

func TestANumberThatCannotBeTextedIsToldAtItsField(t *testing.T) {
	for name, landline := range map[string]func(*shop){
		"by its digits": nil,
		"by Twilio": func(s *shop) {
			s.desk.asked = func(st *flow.Standing) {
				st.Conversation.State, st.Conversation.Failure = flow.Unreachable, flow.ClassNumber
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			b := s.browse()
			b.fill()
			if landline != nil {
				landline(s)
			} else {
				b.do(chromedp.SetValue("#mobile_number", "555-0100"))
			}
			b.do(chromedp.Click("#get-pin"))
			b.await(`document.activeElement.id === "mobile_number"`)
			b.await(`document.getElementById("mobile_number").getAttribute("aria-invalid") === "true"`)
			b.await(`document.getElementById("mobile_number-problem").innerText.length > 0`)
			b.await(`document.title.startsWith("Error: ") && !document.getElementById("problems").hidden`)

			// Put right, it is forgotten.
			s.desk.asked = func(st *flow.Standing) { st.Conversation.State = flow.Asked }
			b.do(chromedp.SetValue("#mobile_number", theirs), chromedp.Click("#get-pin"))
			b.await(`document.activeElement.id === "pin"`)
			b.await(`!document.title.startsWith("Error: ") && document.getElementById("problems").hidden`)
		})
	}
}

func TestAReplyTakesThePageToTheEnd(t *testing.T) {
	s := open(t)
	b := s.browse()
	b.fill()
	b.do(chromedp.Click("#get-pin"))
	b.await(`document.activeElement.id === "pin"`)
	order := uuid.MustParse(eval[string](b, `document.getElementById("order").value`))

	s.desk.change(order, true, func(st *flow.Standing) { st.Text.Status = flow.StatusDelivered })
	b.await(`document.getElementById("status").textContent.includes("delivered")`)
	s.desk.change(order, true, func(st *flow.Standing) { st.Conversation.State = flow.Confirmed })
	b.await(`location.pathname.endsWith("/complete")`)
}

func TestAReplyBeforeTheFormIsFilledIn(t *testing.T) {
	s := open(t)
	b := s.browse()
	b.do(chromedp.Navigate(b.url+"/"), chromedp.SendKeys("#mobile_number", theirs), chromedp.Click("#get-pin"))
	b.await(`document.activeElement.id === "pin"`)
	order := uuid.MustParse(eval[string](b, `document.getElementById("order").value`))

	s.desk.change(order, true, func(st *flow.Standing) { st.Conversation.Proved = began })
	b.await(`document.getElementById("status").textContent.includes("we have your reply") && !document.getElementById("pin")`)
	b.do(chromedp.SendKeys("#address", "12 St James Square"), chromedp.SendKeys("#items", "1 engine"), chromedp.SendKeys("#name", "Ada"+kb.Enter))
	b.await(`location.pathname.endsWith("/complete")`)
}

func TestWithoutScripts(t *testing.T) {
	b := open(t).browse()
	if err := chromedp.Do(b.ctx, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	})); err != nil {
		t.Fatal(err)
	}
	b.fill()
	b.do(
		chromedp.Click("#get-pin"), // which leaves the page
		chromedp.WaitVisible("#standing a"),
		chromedp.SendKeys("#pin", "000000"+kb.Enter),
		chromedp.WaitVisible("#problems"),
		chromedp.SendKeys("#pin", rightPIN+kb.Enter),
		chromedp.WaitVisible("//h1[text()='Order confirmed']"),
	)
}

func TestTheEyeFindsPlaceOrderLast(t *testing.T) {
	b := open(t).browse()
	b.do(chromedp.Navigate(b.url + "/"))
	const first = `document.querySelector("#order-form [type=submit]").id`
	if got := eval[string](b, first); got != "place" {
		t.Errorf("Enter would press %s", got)
	}
	if !eval[bool](b, `place.getBoundingClientRect().top > pin.getBoundingClientRect().bottom`) {
		t.Error("Place order does not stand below the PIN")
	}
	if eval[bool](b, `document.documentElement.scrollWidth > innerWidth`) {
		t.Error("the page is wider than a phone")
	}
}
