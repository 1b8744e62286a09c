package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A farSide is a Twilio that accepts every text and does nothing else. Limit
// and service text by the same one. It keeps what a customer would have to
// know to answer, and what Twilio would to tell how far the text got.
type farSide struct {
	latency atomic.Int64 // from a text to its answer, in nanoseconds
	sids    atomic.Int64
	texts   sync.Map // of to-number to text
	seeded  []string // PINs of those who were never texted, but whose orders are as if they had been
}

// A text is the latest to a number.
type text struct {
	pin      string
	callback string // the path, as the receipts shall take it
	sid      string
}

// textTo is the latest text to that customer.
func (f *farSide) textTo(who customer) (text, error) {
	if kept, ok := f.texts.Load(who.number()); ok {
		return kept.(text), nil
	}
	if int(who) < len(f.seeded) {
		return text{pin: f.seeded[who]}, nil
	}
	return text{}, fmt.Errorf("nothing was texted to customer %d", who)
}

func (f *farSide) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "unread", http.StatusBadRequest)
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		http.Error(w, "unreadable", http.StatusBadRequest)
		return
	}
	if wait := time.Duration(f.latency.Load()); wait > 0 {
		time.Sleep(wait)
	}
	t := text{sid: fmt.Sprintf("SM%032x", f.sids.Add(1))}
	said := form.Get("Body")
	t.pin = said[strings.LastIndexByte(said, '#')+1:] // of the last line, @host #123456
	if callback, err := url.Parse(form.Get("StatusCallback")); err == nil {
		t.callback = callback.Path
	}
	f.texts.Store(form.Get("To"), t)

	// As much as Twilio says of a message.
	// https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource
	said2, _ := json.Marshal(map[string]any{
		"account_sid": accountSID, "api_version": "2010-04-01", "body": said,
		"date_created": time.Now().UTC().Format(time.RFC1123Z), "date_sent": nil,
		"date_updated": time.Now().UTC().Format(time.RFC1123Z), "direction": "outbound-api",
		"error_code": nil, "error_message": nil, "from": form.Get("From"), "to": form.Get("To"),
		"num_media": "0", "num_segments": "1", "price": nil, "price_unit": "USD",
		"messaging_service_sid": nil, "sid": t.sid, "status": "queued",
		"subresource_uris": map[string]string{"media": "/2010-04-01/Accounts/" + accountSID + "/Messages/" + t.sid + "/Media.json"},
		"uri":              "/2010-04-01/Accounts/" + accountSID + "/Messages/" + t.sid + ".json",
	})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(said2)
}
