package phonebooth

import (
	"slices"
	"strings"
)

// A line is a handset and whom it opted out of: one of our numbers, or the
// Messaging Service that has it.
type line struct{ handset, scope string }

func (b *Booth) line(ours, handset string) line {
	if b.cfg.ServiceSid != "" && b.owns(ours) {
		return line{handset, b.cfg.ServiceSid}
	}
	return line{handset, ours}
}

// blocked reports whether handset opted out of texts from ours.
func (b *Booth) blocked(ours, handset string) bool { return b.optouts[b.line(ours, handset)] }

// Twilio's own words. Only a text of one word is one, in any case.
var (
	stopWords  = []string{"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"}
	startWords = []string{"START", "UNSTOP", "YES"}
	helpWords  = []string{"HELP", "INFO"}
)

// What Twilio answers to them by itself.
const (
	saysStopped = "You have successfully been unsubscribed. You will not receive any more messages from this number. Reply START to resubscribe."
	saysStarted = "You have successfully been re-subscribed to messages from this number. Reply HELP for help. Reply STOP to unsubscribe. Msg&Data Rates May Apply."
	saysHelp    = "Reply STOP to unsubscribe. Msg&Data Rates May Apply."

	saysTollFreeStopped = `NETWORK MSG: You replied with the word "stop" which blocks all texts sent from this number. Text back "unstop" to receive messages again.`
	saysTollFreeStarted = `NETWORK MSG: You have replied "unstop" and will begin receiving messages again from this number.`
)

// A heard is what Twilio makes of a text before the service sees it.
type heard struct {
	optOutType string // OptOutType, of an advanced opt-out
	says       string // Twilio's own answer, or ""
	swallowed  bool   // the service never hears of the text
}

// hear obeys Twilio's words in a text from handset to ours. The caller holds
// the lock.
func (b *Booth) hear(ours, handset, body string) heard {
	word := strings.ToUpper(strings.TrimSpace(body))
	l := b.line(ours, handset)
	advanced := b.cfg.AdvancedOptOut && l.scope == b.cfg.ServiceSid
	var h heard
	switch {
	case shortCode(ours) && !advanced:
		return h // Twilio leaves short codes to their owners
	case tollFree(ours) && !advanced: // the carriers' own filter: two words undo what one does
		switch word {
		case "STOP":
			h.says = b.block(l, saysTollFreeStopped)
		case "START", "UNSTOP":
			h.says = b.unblock(l, saysTollFreeStarted)
		}
		return h
	case slices.Contains(stopWords, word):
		h.optOutType, h.says = "STOP", b.block(l, saysStopped)
	case slices.Contains(startWords, word):
		h.optOutType, h.says = "START", b.unblock(l, saysStarted)
	case slices.Contains(helpWords, word):
		h.optOutType, h.says, h.swallowed = "HELP", saysHelp, !advanced
	}
	if !advanced {
		h.optOutType = ""
	}
	return h
}

// block opts l out, and is what is said to that: nothing, if it already was.
func (b *Booth) block(l line, says string) string {
	if b.optouts[l] {
		return ""
	}
	if len(b.optouts) >= b.cfg.Keep {
		for other := range b.optouts { // memory is bounded, and any one is as old as another
			delete(b.optouts, other)
			break
		}
	}
	b.optouts[l] = true
	return says
}

// unblock is the reverse of block.
func (b *Booth) unblock(l line, says string) string {
	if !b.optouts[l] {
		return ""
	}
	delete(b.optouts, l)
	return says
}

// shortCode reports whether number is one: five or six digits and no plus.
func shortCode(number string) bool {
	return (len(number) == 5 || len(number) == 6) && strings.Trim(number, "0123456789") == ""
}

// tollFree reports whether number is a North American toll-free one.
func tollFree(number string) bool {
	return len(number) == len("+18005550100") && slices.ContainsFunc(
		[]string{"+1800", "+1833", "+1844", "+1855", "+1866", "+1877", "+1888"},
		func(prefix string) bool { return strings.HasPrefix(number, prefix) })
}
