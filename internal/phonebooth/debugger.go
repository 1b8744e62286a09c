package phonebooth

import "time"

// A Trouble is an entry of Twilio's debugger: something of the service's that
// Twilio could not use, which nobody else is told of.
type Trouble struct {
	At     time.Time `json:"at"`
	Code   int       `json:"code"`
	Level  string    `json:"level"` // error or warning
	What   string    `json:"what"`
	Sid    string    `json:"sid"`
	URL    string    `json:"url,omitempty"`
	Detail string    `json:"detail,omitempty"`
}

// troubles names the debugger's codes.
var troubles = map[int]string{
	11200: "HTTP retrieval failure",
	11205: "HTTP connection failure",
	12100: "Document parse failure",
	12200: "Schema validation warning",
	12300: "Invalid Content-Type",
	14103: "Invalid Body",
	21211: "Invalid 'To' Phone Number",
	21606: "The 'From' phone number cannot send texts",
	21610: "Attempt to send to unsubscribed recipient",
}

// trouble enters code into the debugger. It takes the lock.
func (b *Booth) trouble(code int, sid, url, detail string) {
	level := "error"
	if code == 12200 {
		level = "warning"
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.debugger.add(Trouble{
		At: b.now().UTC(), Code: code, Level: level, What: troubles[code],
		Sid: sid, URL: url, Detail: detail,
	})
	b.log.Debug("webhook trouble", "code", code, "detail", detail)
	b.changed()
}
