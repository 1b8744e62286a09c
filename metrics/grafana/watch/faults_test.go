package watch

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/pgtest"
)

// A drill is what happens to one shop that until then goes well.
type drill struct {
	app      string
	settings func(t *testing.T) map[string]string // that it wants otherwise; nil for none
	// happens brings it about, at a quarter of the time; nil for nothing.
	happens func(ctx context.Context, s *shop)
	// raises are the alerts that tell of it. One fact is one alert.
	raises []string
}

// drills are those of one run.
func drills() []drill {
	var database *pgtest.Server // of the shop whose outbox is stuck
	var schema string
	return []drill{
		{app: "goes-well"},
		{
			// All of Twilio: what answers refuses, and half of it does not answer.
			app: "twilio-is-down", raises: []string{"TextsNotAccepted"},
			happens: func(ctx context.Context, s *shop) {
				s.fault(ctx, fault{Kind: "reset-before-accept", On: "any", Probability: 0.5})
				s.fault(ctx, fault{Kind: "503", On: "any"})
			},
		},
		{
			app: "receipts-stop", raises: []string{"ReceiptsStopped"},
			happens: func(ctx context.Context, s *shop) { s.fault(ctx, fault{Kind: "receipts-drop"}) },
		},
		{
			// The carriers' doing: texts are taken and sent, and arrive nowhere, and
			// nobody tells us. Only the customers' silence does.
			app: "texts-are-lost", raises: []string{"ConversionDropped"},
			happens: func(ctx context.Context, s *shop) { s.fault(ctx, fault{Kind: "lost"}) },
		},
		{
			app: "texts-are-undelivered", raises: []string{"TextsNotDelivered"},
			happens: func(ctx context.Context, s *shop) { s.fault(ctx, fault{Kind: "undelivered", Code: 30007}) },
		},
		{
			// Bots, each from an address of its own, who answer nothing.
			app: "is-pumped", raises: []string{"CountrySpike"},
			happens: func(ctx context.Context, s *shop) {
				for range 45 {
					s.briton().asks(ctx)
				}
			},
		},
		{
			// Twilio signs with a token that we do not have, or somebody else does.
			app: "webhooks-are-forged", raises: []string{"WebhooksForged"},
			happens: func(ctx context.Context, s *shop) { s.fault(ctx, fault{Kind: "sign-wrong-token"}) },
		},
		{
			// The token was rotated at Twilio, and nobody told us: 401, 20003. That
			// webhooks are signed by the new one does not show, as none come: nobody
			// has a text to answer.
			app: "credentials-are-refused", raises: []string{"TwilioRefusesUs"},
			happens: func(ctx context.Context, s *shop) {
				if code, err := call(ctx, http.MethodPost, s.booth+"/booth/tokens/promote", nil, nil); err != nil || code != http.StatusOK {
					s.complain("the token is not rotated: %d, %v", code, err)
				}
				// Two refusals are an alert. The breaker that the first one trips lets
				// the next text try after 15 s, which at this pace is too late; a
				// restart, which is what ops try too, closes it. Prometheus has to
				// see its counters at zero, before any customer asks: one that comes
				// back as it was has not grown.
				s.american().asks(ctx)
				pass(ctx, 3*time.Second)
				func() {
					s.door.Lock()
					defer s.door.Unlock() // the crash may end the test
					s.crash()
					pass(ctx, 3*time.Second)
				}()
				s.american().asks(ctx)
				s.american().asks(ctx)
			},
		},
		{
			// Somebody has left a text's row locked, on a database console.
			app: "outbox-is-stuck", raises: []string{"OutboxStuck"},
			settings: func(t *testing.T) map[string]string {
				database = pgtest.New(t, "max_prepared_transactions=1", "fsync=off")
				at := database.URL(t)
				_, schema, _ = strings.Cut(at, "search_path=")
				return map[string]string{"DATABASE_URL": at}
			},
			happens: func(ctx context.Context, s *shop) {
				s.fault(ctx, fault{Kind: "503", Count: 1, RetryAfter: 5})
				go s.american().asks(ctx)
				// A prepared transaction keeps its locks without a connection.
				lock := "BEGIN; SELECT id FROM " + schema + `.messages WHERE state = 'waiting' FOR UPDATE;
				PREPARE TRANSACTION 'left open'`
				err := until(ctx, func() bool {
					if database.SQL(s.t, lock) != "" {
						return true
					}
					database.SQL(s.t, `ROLLBACK PREPARED 'left open'`)
					return false
				})
				if err != nil {
					s.complain("no text waits: %v", err)
				}
			},
		},
		{
			app: "is-gone", raises: []string{"Down"},
			happens: func(_ context.Context, s *shop) { s.service.end(s.t, syscall.SIGKILL) },
		},
	}
}

// roads are the settings of the shop that plays every road: orders that lapse
// soon, and a limit for each address that one can reach.
func roads(*testing.T) map[string]string {
	return map[string]string{"ORDER_TTL": "1m", "REQUESTS_PER_IP": "8/1h"}
}

// everyRoad has customers do all that customers, bots, carriers and Twilio do
// to a shop, so that whatever can be counted is.
func everyRoad(ctx context.Context, s *shop) {
	expect := func(what string, got int, want ...int) {
		if !slices.Contains(want, got) && ctx.Err() == nil {
			s.complain("%s: answered %d, want %v", what, got, want)
		}
	}
	wrong := func(pin string) string { return strings.Map(func(r rune) rune { return '0' + (r-'0'+1)%10 }, pin) }

	// Nobody answers this one: it lapses.
	s.american().asks(ctx)

	// The form without JavaScript, a wrong PIN, the right one, the end.
	c := s.american()
	expect("the form", c.browse(ctx, http.MethodGet, "/", nil), http.StatusOK)
	expect("Get PIN", c.browse(ctx, http.MethodPost, "/pin", c.filled(nil)), http.StatusOK)
	pin := c.reads(ctx)
	expect("a wrong PIN in the form", c.browse(ctx, http.MethodPost, "/orders", c.filled(url.Values{"pin": {wrong(pin)}})), http.StatusUnprocessableEntity)
	expect("the right PIN in the form", c.browse(ctx, http.MethodPost, "/orders", c.filled(url.Values{"pin": {pin}})), http.StatusOK)

	// A reply, heard twice; then small talk.
	c = s.american()
	expect("POST /pin", c.asks(ctx), http.StatusAccepted)
	expect("a resend at once", c.post(ctx, "/orders/"+c.order+"/resend", url.Values{}), http.StatusTooManyRequests)
	pin = c.reads(ctx)
	c.replies(ctx, wrong(pin))
	c.replies(ctx, "is it you?")
	c.replies(ctx, "STATUS")
	s.fault(ctx, fault{Kind: "webhook-double", To: c.number, Count: 1})
	c.replies(ctx, "my pin is "+pin)
	expect("the order's page", c.browse(ctx, http.MethodGet, "/orders/"+c.order, nil), http.StatusOK)
	expect("the end", c.browse(ctx, http.MethodGet, "/orders/"+c.order+"/complete", nil), http.StatusOK)

	// NO, and the button that says it.
	c = s.american()
	c.asks(ctx)
	c.reads(ctx)
	c.replies(ctx, "NO")
	c = s.american()
	c.asks(ctx)
	expect("Decline", c.browse(ctx, http.MethodPost, "/orders/"+c.order+"/decline", url.Values{}), http.StatusOK)

	// Every try used up, on both roads; then a new PIN.
	c = s.american()
	c.asks(ctx)
	pin = c.reads(ctx)
	for range 6 {
		c.gives(ctx, wrong(pin))
	}
	for range 4 {
		c.replies(ctx, wrong(pin))
	}
	c.replies(ctx, "NEW")

	// STOP, and what we would text is refused; START.
	c = s.american()
	c.asks(ctx)
	c.reads(ctx)
	c.replies(ctx, "STOP")
	expect("a text to who wants none", c.post(ctx, "/orders/"+c.order+"/resend", url.Values{}), http.StatusUnprocessableEntity, http.StatusConflict, http.StatusTooManyRequests)
	c.replies(ctx, "START")

	// What Twilio and carriers refuse.
	for _, f := range []fault{
		{Kind: "undelivered", Code: 30003}, {Kind: "undelivered", Code: 30450}, {Kind: "failed", Code: 30007},
		{Kind: "error", Code: 21610}, {Kind: "error", Code: 21211}, {Kind: "error", Code: 21408},
		{Kind: "503", On: "create"}, {Kind: "reset-after-accept", On: "create"},
	} {
		c = s.american()
		f.To, f.Count = c.number, 1
		s.fault(ctx, f)
		c.asks(ctx)
	}
	c = s.american()
	s.fault(ctx, fault{Kind: "undelivered", Code: 30005, To: c.number, Count: 1})
	c.asks(ctx)
	if err := until(ctx, func() bool {
		var order struct{ State string }
		c.send(ctx, http.MethodGet, "/orders/"+c.order, nil, "application/json", &order)
		return order.State == "unreachable"
	}); err != nil && ctx.Err() == nil {
		s.complain("a dead number stays %v", err)
	}
	c.number = s.american().number
	expect("a corrected number", c.post(ctx, "/orders/"+c.order+"/number", url.Values{"mobile_number": {c.number}}), http.StatusAccepted, http.StatusOK)

	// What the guard refuses, and what is not there at all.
	expect("a country that we do not text", s.customer("+46701234567", 9999).asks(ctx), http.StatusUnprocessableEntity)
	for range 12 {
		bot := s.american()
		bot.ip = "10.9.9.9"
		bot.asks(ctx)
	}
	expect("no page", c.browse(ctx, http.MethodGet, "/wp-login.php", nil), http.StatusNotFound)
	expect("a webhook that nobody signed", c.browse(ctx, http.MethodPost, "/webhooks/twilio/message", url.Values{"Body": {"hi"}}), http.StatusForbidden)
}

// crash ends a service as a power cut does, and starts it again.
func (s *shop) crash() {
	s.service.end(s.t, syscall.SIGKILL)
	s.serve()
	s.opened()
}
