package watch

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A shop is a service and its booth.
type shop struct {
	t          *testing.T
	app        string // its label
	dir, bin   string
	env        []string // the service's
	public     string
	ops, booth string
	service    *program
	twilio     *program
	customers  atomic.Int64 // so far

	// door is locked for customers to find the shop closed, and wait.
	door sync.RWMutex

	mu         sync.Mutex
	complaints []string // what did not go as it was to, if the machine had time for it
}

func (s *shop) complain(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.complaints = append(s.complaints, fmt.Sprintf(format, args...))
}

// Two tokens, the first of which is retired when the booth promotes the other.
const oldToken, newToken = "anOldTokenThatBothKnow", "aNewTokenThatNobodyToldUs"

// open opens a shop, which takes a moment: see [shop.opened]. Settings are those
// that it wants otherwise.
func open(t *testing.T, app, bin string, settings map[string]string) *shop {
	t.Helper()
	listen, ops, booth := freeAddr(t), freeAddr(t), freeAddr(t)
	s := &shop{t: t, app: app, dir: t.TempDir(), bin: bin, public: "http://" + listen, ops: ops, booth: "http://" + booth}
	own := map[string]string{
		"PUBLIC_URL":         s.public,
		"TWILIO_ACCOUNT_SID": "AC0123456789abcdef0123456789abcdef",
		"TWILIO_AUTH_TOKEN":  oldToken,
		"TWILIO_FROM_NUMBER": "+14155550100",
		"TWILIO_API_URL":     s.booth,
		"SECRET_KEY":         "a key of which nobody else knows anything",
		"DATABASE_URL":       "file:" + filepath.Join(s.dir, "shop.db"),
		"LISTEN_ADDR":        listen,
		"OPS_ADDR":           ops,
		"SHOP_NAME":          "Acme Teas",
		"COUNTRIES":          "US,GB",
		"CLIENT_IP_HEADER":   ipHeader,
		"LOG_LEVEL":          "warn",
	}
	maps.Copy(own, settings)
	for name, value := range own {
		s.env = append(s.env, name+"="+value)
	}

	twilio := exec.CommandContext(t.Context(), filepath.Join(bin, "phonebooth"))
	twilio.Env = []string{
		"BOOTH_LISTEN=" + booth, "BOOTH_INBOUND_URL=" + s.public + "/webhooks/twilio/message",
		"TWILIO_ACCOUNT_SID=" + own["TWILIO_ACCOUNT_SID"], "TWILIO_AUTH_TOKEN=" + oldToken + "," + newToken,
		"TWILIO_FROM_NUMBER=" + own["TWILIO_FROM_NUMBER"], "BOOTH_DELIVER_DELAY=400ms",
	}
	s.twilio = start(t, filepath.Join(s.dir, app+"-booth.log"), twilio)
	s.serve()
	return s
}

// opened waits until a shop is open.
func (s *shop) opened() {
	s.t.Helper()
	answers(s.t, s.twilio, s.booth+"/booth/state")
	answers(s.t, s.service, s.public+"/readyz")
}

// serve starts the service.
func (s *shop) serve() {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), filepath.Join(s.bin, "countersign"), "serve")
	cmd.Env, cmd.Dir = s.env, s.dir
	s.service = start(s.t, filepath.Join(s.dir, s.app+".log"), cmd)
}

// fault has the booth fail.
func (s *shop) fault(ctx context.Context, f fault) {
	if code, err := call(ctx, http.MethodPost, s.booth+"/booth/faults", f, nil); err != nil || code >= 300 {
		s.complain("the booth takes no fault %v: %d, %v", f, code, err)
	}
}

// A fault is one of the booth's; see docs/booth.md.
type fault struct {
	Kind        string  `json:"kind"`
	Probability float64 `json:"probability,omitempty"`
	On          string  `json:"on,omitempty"`
	To          string  `json:"to,omitempty"`
	Code        int     `json:"code,omitempty"`
	Count       int     `json:"count,omitempty"`
	RetryAfter  int     `json:"retry_after,omitempty"`
}

const ipHeader = "X-Client-Ip"

// A customer has a telephone, a browser and an address of their own.
type customer struct {
	*shop
	number string
	ip     string
	web    *http.Client
	order  string // the latest
}

// american is a customer with a number that nobody has had before.
func (s *shop) american() *customer {
	n := s.customers.Add(1)
	return s.customer(fmt.Sprintf("+1415%07d", 2_000_000+n), n)
}

// briton is the same, far from home.
func (s *shop) briton() *customer {
	n := s.customers.Add(1)
	return s.customer(fmt.Sprintf("+447400%06d", 100_000+n), n)
}

func (s *shop) customer(number string, n int64) *customer {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &customer{shop: s, number: number, ip: fmt.Sprintf("10.0.%d.%d", n/250, 1+n%250), web: &http.Client{Jar: jar}}
}

// filled is the order form, with that much more.
func (c *customer) filled(more url.Values) url.Values {
	form := url.Values{"name": {"Ada"}, "address": {"12 St James Square"}, "items": {"1 tea"}, "mobile_number": {c.number}}
	maps.Copy(form, more)
	return form
}

// post posts a form as a program does, and returns the status; 0 for no answer,
// which is a customer's lot while a shop is down.
func (c *customer) post(ctx context.Context, path string, form url.Values) int {
	var order struct{ Order string }
	code := c.send(ctx, http.MethodPost, path, form, "application/json", &order)
	c.order = cmp.Or(order.Order, c.order)
	return code
}

// browse sends a request as a browser does.
func (c *customer) browse(ctx context.Context, method, path string, form url.Values) int {
	return c.send(ctx, method, path, form, "text/html", nil)
}

func (c *customer) send(ctx context.Context, method, path string, form url.Values, accept string, out any) int {
	req, err := http.NewRequestWithContext(ctx, method, c.public+path, strings.NewReader(form.Encode()))
	if err != nil {
		c.complain("%v", err)
		return 0
	}
	req.Header.Set("Accept", accept)
	req.Header.Set(ipHeader, c.ip)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	code, _ := ask(c.web, req, out)
	return code
}

// asks asks for a PIN.
func (c *customer) asks(ctx context.Context) int { return c.post(ctx, "/pin", c.filled(nil)) }

// gives types a PIN into the order's page.
func (c *customer) gives(ctx context.Context, pin string) int {
	return c.post(ctx, "/orders/"+c.order+"/pin", url.Values{"pin": {pin}})
}

// replies texts back.
func (c *customer) replies(ctx context.Context, body string) {
	said := map[string]string{"body": body}
	code, err := call(ctx, http.MethodPost, c.booth+"/booth/phones/"+url.PathEscape(c.number)+"/texts", said, nil)
	if ctx.Err() == nil && (err != nil || code >= 300) {
		c.complain("the handset cannot text: %d, %v", code, err)
	}
}

var digits = regexp.MustCompile(`\b\d{6}\b`)

// reads waits for a PIN to arrive on the telephone, as long as customers do.
func (c *customer) reads(ctx context.Context) (pin string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_ = until(ctx, func() bool {
		var texts []struct{ Body, Status, Direction string }
		if _, err := call(ctx, http.MethodGet, c.booth+"/booth/messages?to="+url.QueryEscape(c.number), nil, &texts); err != nil {
			return false
		}
		for _, text := range texts {
			if text.Status == "delivered" && text.Direction != "inbound" {
				pin = cmp.Or(digits.FindString(text.Body), pin)
			}
		}
		return pin != ""
	})
	return pin
}

// trade has customers come, order, and answer if a PIN arrives: every second
// one on the page, the others by text. It ends with ctx.
func (s *shop) trade(ctx context.Context, every time.Duration) {
	var all sync.WaitGroup
	defer all.Wait()
	next := time.NewTicker(every)
	defer next.Stop()
	for byText := false; ; byText = !byText {
		c := s.american()
		all.Go(func() {
			s.door.RLock()
			asked := c.asks(ctx)
			s.door.RUnlock()
			if asked != http.StatusAccepted {
				return
			}
			switch pin := c.reads(ctx); {
			case pin == "":
			case byText:
				c.replies(ctx, "my pin is "+pin)
			default:
				c.gives(ctx, pin)
			}
		})
		select {
		case <-next.C:
		case <-ctx.Done():
			return
		}
	}
}
