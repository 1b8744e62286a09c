package phonebooth

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Fault is one way in which Twilio, a carrier or the network fails, on
// demand: so many times, or now and then, for everybody or for one telephone.
type Fault struct {
	ID          int      `json:"id"`
	Kind        string   `json:"kind"`                  // one of Kinds
	Count       int      `json:"count,omitempty"`       // how often it strikes; 0 is until it is lifted
	Probability float64  `json:"probability,omitempty"` // of striking, 0 to 1; 0 is always
	Seed        uint64   `json:"seed,omitempty"`        // of the dice: the same seed strikes the same
	To          string   `json:"to,omitempty"`          // only this telephone
	On          string   `json:"on,omitempty"`          // only these requests: see Kinds
	Code        int      `json:"code,omitempty"`        // Twilio's error code
	RetryAfter  int      `json:"retry_after,omitempty"` // seconds; 0 is no header
	Delay       Duration `json:"delay,omitempty"`
	Struck      int      `json:"struck"` // how often it has

	dice *rand.Rand
}

// A stage is where in a text's life a kind of fault strikes.
type stage int

const (
	beforeAccept stage = iota // a REST request, which then has done nothing
	afterAccept               // a REST request, which has been carried out
	refusal                   // a text, refused at once with a code
	fateful                   // a text, on its way
	receipts                  // a receipt
	signing                   // a webhook's signature
	asking                    // the webhook that tells of an inbound text
)

// A kind is what a name of a fault means.
type kind struct {
	stage stage
	on    []string // what On may say; the first is the default
	code  int      // the default Code; 0 if the kind has none
	delay time.Duration
	Means string
}

var (
	onREST = []string{"create", "read", "change", "any"}
	onHook = []string{"any", "inbound", "status"}
)

// kinds is every kind of fault, by name.
var kinds = map[string]kind{
	"429":                 {stage: beforeAccept, on: onREST, code: 20429, Means: "too many requests at once; nothing was done"},
	"500":                 {stage: beforeAccept, on: onREST, code: 20500, Means: "an internal error; nothing was done"},
	"503":                 {stage: beforeAccept, on: onREST, code: 20503, Means: "unavailable; nothing was done"},
	"302":                 {stage: beforeAccept, on: onREST, Means: "a redirect with a JSON body; nothing was done"},
	"html":                {stage: beforeAccept, on: onREST, Means: "a proxy's 502 page; nothing was done"},
	"hang-before-accept":  {stage: beforeAccept, on: onREST, Means: "no answer until the caller leaves; nothing was done"},
	"reset-before-accept": {stage: beforeAccept, on: onREST, Means: "the connection is reset; nothing was done"},
	"500-after-accept":    {stage: afterAccept, on: onREST, code: 20500, Means: "an internal error, yet it was done"},
	"hang-after-accept":   {stage: afterAccept, on: onREST, Means: "no answer until the caller leaves, yet it was done"},
	"reset-after-accept":  {stage: afterAccept, on: onREST, Means: "the connection is reset, yet it was done"},
	"slow-body":           {stage: afterAccept, on: onREST, delay: time.Second, Means: "it was done, and the answer comes a byte every delay"},
	"error":               {stage: refusal, code: 21211, Means: "the text is refused with code"},
	"failed":              {stage: fateful, code: 30001, Means: "the text is taken, and never leaves"},
	"undelivered":         {stage: fateful, code: 30003, Means: "the text leaves, and does not arrive"},
	"lost":                {stage: fateful, Means: "the text leaves, and is never heard of again"},
	"hold":                {stage: fateful, delay: time.Minute, Means: "the text waits in the queue for delay, or until it expires"},
	"receipts-drop":       {stage: receipts, Means: "a receipt is lost"},
	"receipts-delay":      {stage: receipts, delay: 5 * time.Second, Means: "a receipt comes late by delay"},
	"receipts-double":     {stage: receipts, Means: "a receipt comes twice"},
	"receipts-shuffle":    {stage: receipts, delay: 3 * time.Second, Means: "a receipt comes late by delay unless it is the last: after the one that is"},
	"sign-none":           {stage: signing, on: onHook, Means: "a webhook comes without a signature"},
	"sign-wrong-token":    {stage: signing, on: onHook, Means: "a webhook is signed by somebody else"},
	"sign-wrong-port":     {stage: signing, on: onHook, Means: "a webhook is signed for another port"},
	"sign-tampered":       {stage: signing, on: onHook, Means: "a webhook is changed after it was signed"},
	"webhook-double":      {stage: asking, Means: "the service is told of an inbound text twice"},
}

// Kinds lists the kinds of faults, in order.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds)) }

// at reports whether f strikes at s; no fault strikes nowhere.
func (f *Fault) at(s stage) bool { return f != nil && kinds[f.Kind].stage == s }

func (f *Fault) before() bool { return f.at(beforeAccept) }
func (f *Fault) after() bool  { return f.at(afterAccept) }

// faults are those in force. Booth.mu guards them.
type faults struct {
	made  int
	force []*Fault
}

// add puts f in force, completed from its kind.
func (fs *faults) add(f Fault) (Fault, error) {
	k, ok := kinds[f.Kind]
	switch {
	case !ok:
		return Fault{}, fmt.Errorf("no kind of fault %q: there are %s", f.Kind, strings.Join(Kinds(), ", "))
	case f.Probability < 0 || f.Probability > 1:
		return Fault{}, fmt.Errorf("probability %v is not between 0 and 1", f.Probability)
	case f.Count < 0 || f.Code < 0 || f.RetryAfter < 0 || f.Delay < 0:
		return Fault{}, fmt.Errorf("count, code, retry_after and delay cannot be negative")
	case f.On != "" && !slices.Contains(k.on, f.On):
		return Fault{}, fmt.Errorf("%s cannot be on %q: there are %q", f.Kind, f.On, k.on)
	case len(fs.force) >= 1000:
		return Fault{}, fmt.Errorf("too many faults in force; lift some")
	}
	if len(k.on) > 0 {
		f.On = cmp.Or(f.On, k.on[0])
	}
	f.To = number(f.To)
	f.Code = cmp.Or(f.Code, k.code)
	f.Delay = cmp.Or(f.Delay, Duration(k.delay))
	f.Seed = cmp.Or(f.Seed, 1)
	fs.made++
	f.ID, f.Struck = fs.made, 0
	f.dice = rand.New(rand.NewPCG(f.Seed, 0)) // #nosec G404 -- faults are to be repeatable, not secret
	fs.force = append(fs.force, &f)
	return f, nil
}

// lift ends the fault of that id, or all for 0, and reports whether there was
// one.
func (fs *faults) lift(id int) bool {
	before := len(fs.force)
	fs.force = slices.DeleteFunc(fs.force, func(f *Fault) bool { return id == 0 || f.ID == id })
	return id == 0 || len(fs.force) < before
}

func (fs *faults) list() []Fault {
	list := []Fault{}
	for _, f := range fs.force {
		list = append(list, *f)
	}
	return list
}

// strike is the first fault in force that suits and strikes, or nil. Dice are
// rolled, and counts used up, only for what suits.
func (fs *faults) strike(to string, suits func(*Fault) bool) *Fault {
	for i, f := range fs.force {
		if f.To != "" && f.To != to || !suits(f) {
			continue
		}
		if f.Probability > 0 && f.dice.Float64() >= f.Probability {
			continue
		}
		f.Struck++
		struck := *f
		if f.Count > 0 && f.Struck >= f.Count {
			fs.force = slices.Delete(fs.force, i, i+1)
		}
		return &struck
	}
	return nil
}

// strike is the fault that meets op, if any.
func (b *Booth) strike(op operation) *Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.faults.strike(op.to, func(f *Fault) bool {
		return (f.before() || f.after()) && (f.On == "any" || f.On == op.on)
	})
	if f != nil {
		b.changed()
	}
	return f
}

// strikeStage is the fault of stage s that meets a text to the handset, or
// nil. The caller holds the lock, as of all below.
func (b *Booth) strikeStage(s stage, handset string) *Fault {
	return b.faults.strike(handset, func(f *Fault) bool { return f.at(s) })
}

// A fate is what becomes of a text that was taken.
type fate struct {
	status string // failed, undelivered, or sent for a text that is lost; "" for a good end
	code   int
	hold   time.Duration
}

func (b *Booth) strikeFate(handset string) fate {
	f := b.strikeStage(fateful, handset)
	switch {
	case f == nil:
		return fate{}
	case f.Kind == "hold":
		return fate{hold: time.Duration(f.Delay)}
	case f.Kind == "lost":
		return fate{status: sent}
	}
	return fate{status: f.Kind, code: f.Code}
}

// strikeReceipt is when a receipt is posted: after each of these delays.
func (b *Booth) strikeReceipt(handset string, last bool) []time.Duration {
	f := b.faults.strike(handset, func(f *Fault) bool {
		return f.at(receipts) && (!last || f.Kind != "receipts-shuffle")
	})
	switch {
	case f == nil:
		return []time.Duration{0}
	case f.Kind == "receipts-drop":
		return nil
	case f.Kind == "receipts-double":
		return []time.Duration{0, 0}
	}
	return []time.Duration{time.Duration(f.Delay)}
}

// breakDown fails a request that has done nothing.
func (b *Booth) breakDown(w http.ResponseWriter, r *http.Request, f *Fault, tell func(int, resource)) {
	switch f.Kind {
	case "302":
		w.Header().Set("Location", r.URL.Path+"?moved=1")
		tell(http.StatusFound, map[string]string{"status": queued})
	case "html":
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = fmt.Fprint(w, "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n")
	case "hang-before-accept":
		b.hang(w, r, time.Duration(f.Delay))
	case "reset-before-accept":
		reset(w)
	default: // 429, 500, 503
		if f.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(f.RetryAfter))
		}
		e := refuse(f.Code)
		tell(kindStatus(f, e), e)
	}
}

// breakDownAfter fails a request that has been carried out, with that result.
func (b *Booth) breakDownAfter(w http.ResponseWriter, r *http.Request, f *Fault, status int, body resource, tell func(int, resource)) {
	switch f.Kind {
	case "hang-after-accept":
		b.hang(w, r, time.Duration(f.Delay))
	case "reset-after-accept":
		reset(w)
	case "slow-body":
		b.dribble(w, r, time.Duration(f.Delay), status, body)
	default: // 500-after-accept
		e := refuse(f.Code)
		tell(http.StatusInternalServerError, e)
	}
}

// kindStatus is the HTTP status that f's name says, whatever its code.
func kindStatus(f *Fault, e *restError) int {
	if n, err := strconv.Atoi(f.Kind); err == nil {
		e.Status = n
	}
	return e.Status
}

// hang answers nothing until the caller leaves, the booth closes, or, if it is
// not 0, limit has passed; then it breaks off.
func (b *Booth) hang(w http.ResponseWriter, r *http.Request, limit time.Duration) {
	b.wait(r, limit)
	reset(w)
}

// wait waits for limit, or for ever if it is 0, and reports whether there is
// still somebody to answer.
func (b *Booth) wait(r *http.Request, limit time.Duration) bool {
	var over <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
		return true
	case <-r.Context().Done():
	case <-b.closed:
	}
	return false
}

// reset drops the connection without a word: by TCP RST where there is one.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// dribble tells the result a byte at a time.
func (b *Booth) dribble(w http.ResponseWriter, r *http.Request, pause time.Duration, status int, body resource) {
	data, kind := encode(body, strings.HasSuffix(r.URL.Path, ".json"))
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	flush := http.NewResponseController(w)
	for i := range data {
		if _, err := w.Write(data[i : i+1]); err != nil {
			return
		}
		_ = flush.Flush()
		if !b.wait(r, pause) {
			return
		}
	}
}

// A Duration is a time.Duration that JSON tells as Go writes it: "90s".
type Duration time.Duration

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}
