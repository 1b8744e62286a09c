package phonebooth

import (
	"bytes"
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	apiVersion = "2010-04-01"
	apiRoot    = "/" + apiVersion + "/Accounts/"
	maxForm    = 1 << 20 // bytes of a request body; no text needs more
)

// An operation is a REST request that was understood but not yet carried out:
// the moment at which a fault can strike before it, or after.
type operation struct {
	on string                             // create, read or change
	to string                             // whose text it is about, if it says so
	do func() (int, resource, *restError) // status and body; no body at all for nil
}

// A resource can be told as JSON and as XML.
type resource any

// rest answers the REST API.
func (b *Booth) rest(w http.ResponseWriter, r *http.Request) {
	busy := b.busy.Add(1)
	defer b.busy.Add(-1)
	started := b.cfg.Now()
	path, isJSON := strings.CutSuffix(r.URL.Path, ".json")
	tell := func(status int, body resource) {
		h := w.Header()
		h.Set("Twilio-Concurrent-Requests", strconv.FormatInt(busy, 10))
		h.Set("Twilio-Request-Duration", fmt.Sprintf("%.3f", b.cfg.Now().Sub(started).Seconds()))
		write(w, status, body, isJSON)
	}
	header(w.Header())

	if b.cfg.Concurrency > 0 && busy > int64(b.cfg.Concurrency) {
		tell(http.StatusTooManyRequests, refuse(20429))
		return
	}
	if !b.admits(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="Twilio API"`)
		tell(http.StatusUnauthorized, refuse(20003))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		tell(http.StatusBadRequest, refuse(20001, "The request body could not be read"))
		return
	}
	op, refusal := b.understand(r, path)
	if refusal != nil {
		if refusal.Status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", "GET, POST, DELETE")
		}
		tell(refusal.Status, refusal)
		return
	}

	fault := b.strike(op)
	if fault.before() {
		b.breakDown(w, r, fault, tell)
		return
	}
	status, body, refusal := op.do()
	if refusal != nil {
		status, body = refusal.Status, refusal
	}
	if fault.after() {
		b.breakDownAfter(w, r, fault, status, body, tell)
		return
	}
	tell(status, body)
}

// understand names the operation that r asks for; path has no extension.
func (b *Booth) understand(r *http.Request, path string) (operation, *restError) {
	parts := strings.Split(strings.TrimPrefix(path, apiRoot), "/")
	missing := refuse(20404, r.URL.Path)
	if parts[0] != b.cfg.AccountSid {
		return operation{}, missing
	}
	on := "read"
	if r.Method == http.MethodPost || r.Method == http.MethodDelete {
		on = "change"
	}
	verb := r.Method + " " + strings.Join(parts[1:min(2, len(parts))], "")
	switch len(parts) {
	case 1:
		if verb == "GET " {
			return operation{on: on, do: b.fetchAccount}, nil
		}
		return operation{}, refuse(20004)
	case 2:
		switch verb {
		case "POST Messages":
			form := r.PostForm
			return operation{on: "create", to: number(form.Get("To")), do: func() (int, resource, *restError) {
				return b.create(form)
			}}, nil
		case "GET Messages":
			uri, q := r.URL.Path, r.URL.Query()
			return operation{on: on, to: number(q.Get("To")), do: func() (int, resource, *restError) {
				return b.list(uri, q)
			}}, nil
		case "GET IncomingPhoneNumbers":
			uri, number := r.URL.Path, r.URL.Query().Get("PhoneNumber")
			return operation{on: on, do: func() (int, resource, *restError) {
				return b.listNumbers(uri, number)
			}}, nil
		}
		if parts[1] == "Messages" || parts[1] == "IncomingPhoneNumbers" {
			return operation{}, refuse(20004)
		}
	case 3, 4:
		if parts[1] != "Messages" {
			return operation{}, missing
		}
		do := map[string]func(*message, url.Values) (int, resource, *restError){
			"GET":           b.fetch,
			"POST":          b.change,
			"DELETE":        b.remove,
			"POST Feedback": b.feedback,
			"GET Media":     b.listMedia,
		}[strings.Join(append([]string{r.Method}, parts[3:]...), " ")]
		if do == nil {
			if len(parts) == 3 {
				return operation{}, refuse(20004)
			}
			return operation{}, missing
		}
		sid, form := parts[2], r.PostForm
		return operation{on: on, do: func() (int, resource, *restError) {
			b.mu.Lock()
			defer b.mu.Unlock()
			m := b.messages.bySid[sid]
			if m == nil || m.deleted {
				return 0, nil, missing
			}
			return do(m, form)
		}}, nil
	}
	return operation{}, missing
}

// admits checks HTTP Basic: the account with one of its tokens, or an API key
// with its secret.
func (b *Booth) admits(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	if !ok {
		return false
	}
	same := func(secret string) bool {
		return subtle.ConstantTimeCompare([]byte(password), []byte(secret)) == 1
	}
	if user == b.cfg.AccountSid {
		b.mu.Lock()
		defer b.mu.Unlock()
		return slices.ContainsFunc(b.tokens, same)
	}
	secret, ok := b.cfg.APIKeys[user]
	return ok && same(secret)
}

// header sets what Twilio says about itself with every answer.
func header(h http.Header) {
	h.Set("Twilio-Request-Id", newSid("RQ"))
	h["X-API-Domain"] = []string{"api.twilio.com"} // spelt so
	h.Set("X-Home-Region", "us1")
	h.Set("X-Powered-By", "AT-5000")
	h.Set("X-Shenanigans", "none")
	h.Set("Strict-Transport-Security", "max-age=31536000")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Match, If-Unmodified-Since")
	h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS")
	h.Set("Access-Control-Expose-Headers", "ETag")
	h.Set("Access-Control-Allow-Credentials", "true")
}

// write tells body, or nothing if it is nil.
func write(w http.ResponseWriter, status int, body resource, isJSON bool) {
	if body == nil {
		w.WriteHeader(status)
		return
	}
	data, kind := encode(body, isJSON)
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data) // whoever went away needs no answer
}

// encode is the bytes of a resource and their content type.
func encode(body resource, isJSON bool) ([]byte, string) {
	var buf bytes.Buffer
	var err error
	kind := "application/json;charset=utf-8"
	if isJSON {
		e := json.NewEncoder(&buf)
		e.SetEscapeHTML(false)
		err = e.Encode(body)
	} else {
		kind = "application/xml;charset=utf-8"
		buf.WriteString("<?xml version='1.0' encoding='UTF-8'?>\n")
		err = xml.NewEncoder(&buf).Encode(struct {
			XMLName xml.Name `xml:"TwilioResponse"`
			Body    resource
		}{Body: body})
	}
	if err != nil {
		panic(fmt.Sprintf("phonebooth: encode %T: %v", body, err)) // our own types always can be
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), kind
}

// maybe is a string that JSON tells as null and XML as empty when it is "".
type maybe string

func (s maybe) MarshalJSON() ([]byte, error) {
	if s == "" {
		return []byte("null"), nil
	}
	return json.Marshal(string(s))
}

// maybeInt is a number that JSON tells as null when it is 0.
type maybeInt int

func (n maybeInt) MarshalJSON() ([]byte, error) {
	if n == 0 {
		return []byte("null"), nil
	}
	return strconv.AppendInt(nil, int64(n), 10), nil
}

// rfc2822 is t as the REST API writes it; the zero time is null.
func rfc2822(t time.Time) maybe {
	if t.IsZero() {
		return ""
	}
	return maybe(t.UTC().Format("Mon, 02 Jan 2006 15:04:05 +0000"))
}

func optional(s *string) maybe {
	if s == nil {
		return ""
	}
	return maybe(*s)
}

// messageResource is a text as the REST API tells it, in Twilio's order:
// counts and price are strings, the error code is a number.
type messageResource struct {
	XMLName             xml.Name          `json:"-" xml:"Message"`
	AccountSid          string            `json:"account_sid" xml:"AccountSid"`
	APIVersion          string            `json:"api_version" xml:"ApiVersion"`
	Body                string            `json:"body" xml:"Body"`
	DateCreated         maybe             `json:"date_created" xml:"DateCreated"`
	DateSent            maybe             `json:"date_sent" xml:"DateSent"`
	DateUpdated         maybe             `json:"date_updated" xml:"DateUpdated"`
	Direction           string            `json:"direction" xml:"Direction"`
	ErrorCode           maybeInt          `json:"error_code" xml:"ErrorCode"`
	ErrorMessage        maybe             `json:"error_message" xml:"ErrorMessage"`
	From                maybe             `json:"from" xml:"From"`
	NumMedia            string            `json:"num_media" xml:"NumMedia"`
	NumSegments         string            `json:"num_segments" xml:"NumSegments"`
	Price               maybe             `json:"price" xml:"Price"`
	PriceUnit           maybe             `json:"price_unit" xml:"PriceUnit"`
	MessagingServiceSid maybe             `json:"messaging_service_sid" xml:"MessagingServiceSid"`
	Sid                 string            `json:"sid" xml:"Sid"`
	Status              string            `json:"status" xml:"Status"`
	SubresourceURIs     map[string]string `json:"subresource_uris" xml:"-"`
	To                  string            `json:"to" xml:"To"`
	URI                 string            `json:"uri" xml:"Uri"`
}

func (b *Booth) resource(m *message) *messageResource {
	uri := apiRoot + b.cfg.AccountSid + "/Messages/" + m.sid
	r := &messageResource{
		AccountSid: b.cfg.AccountSid, APIVersion: apiVersion, Body: m.body,
		DateCreated: rfc2822(m.created), DateSent: rfc2822(m.sent), DateUpdated: rfc2822(m.updated),
		Direction: m.direction, ErrorCode: maybeInt(m.code),
		From: optional(m.sender()), To: m.to,
		NumMedia: strconv.Itoa(len(m.media)), NumSegments: strconv.Itoa(m.segments),
		Price: optional(m.price()), MessagingServiceSid: maybe(m.service),
		Sid: m.sid, Status: m.status, URI: uri + ".json",
		SubresourceURIs: map[string]string{"media": uri + "/Media.json"},
	}
	if m.sender() == nil {
		r.NumSegments = "0" // no sender, no count
	}
	if r.Price != "" {
		r.PriceUnit = "USD"
	}
	if m.feedback {
		r.SubresourceURIs["feedback"] = uri + "/Feedback.json"
	}
	if m.code != 0 {
		r.ErrorMessage = maybe(cmp.Or(late[m.code], fmt.Sprintf("Error %d", m.code)))
	}
	return r
}

// fetch is GET …/Messages/{Sid}. The caller holds the lock, as of all below
// that are handed a message.
func (b *Booth) fetch(m *message, _ url.Values) (int, resource, *restError) {
	return http.StatusOK, b.resource(m), nil
}

// change is POST …/Messages/{Sid}: an empty Body redacts a text that is over,
// and Status=canceled calls back one that is only scheduled.
func (b *Booth) change(m *message, form url.Values) (int, resource, *restError) {
	switch {
	case form.Get("Status") == canceled:
		if m.status != scheduled {
			return 0, nil, refuse(30409)
		}
		m.is(canceled, b.now())
		b.report(m)
	case form.Has("Status"):
		return 0, nil, refuse(20001, "Status must be canceled")
	case form.Has("Body") && form.Get("Body") != "":
		return 0, nil, refuse(20001, "Body can only be emptied")
	case form.Has("Body"):
		if !m.over() {
			return 0, nil, refuse(20009)
		}
		m.body, m.updated = "", b.now()
	}
	b.changed()
	return http.StatusOK, b.resource(m), nil
}

// remove is DELETE …/Messages/{Sid}.
func (b *Booth) remove(m *message, _ url.Values) (int, resource, *restError) {
	if !m.over() {
		return 0, nil, refuse(20009)
	}
	m.deleted = true
	b.changed()
	return http.StatusNoContent, nil, nil
}

// feedback is POST …/Messages/{Sid}/Feedback.
func (b *Booth) feedback(m *message, form url.Values) (int, resource, *restError) {
	outcome := cmp.Or(form.Get("Outcome"), "unconfirmed")
	if outcome != "confirmed" && outcome != "unconfirmed" {
		return 0, nil, refuse(20001, "Outcome must be confirmed or unconfirmed")
	}
	now := rfc2822(b.now())
	return http.StatusCreated, &feedbackResource{
		AccountSid: b.cfg.AccountSid, DateCreated: now, DateUpdated: now,
		MessageSid: m.sid, Outcome: outcome,
		URI: apiRoot + b.cfg.AccountSid + "/Messages/" + m.sid + "/Feedback.json",
	}, nil
}

type feedbackResource struct {
	XMLName     xml.Name `json:"-" xml:"Feedback"`
	AccountSid  string   `json:"account_sid" xml:"AccountSid"`
	DateCreated maybe    `json:"date_created" xml:"DateCreated"`
	DateUpdated maybe    `json:"date_updated" xml:"DateUpdated"`
	MessageSid  string   `json:"message_sid" xml:"MessageSid"`
	Outcome     string   `json:"outcome" xml:"Outcome"`
	URI         string   `json:"uri" xml:"Uri"`
}
