package flow

import (
	"slices"
	"strings"
)

// Intent is what a customer's text is read as.
type Intent string

// The intents.
const (
	IntentPIN     Intent = "pin"     // it holds one candidate for a PIN
	IntentPINs    Intent = "pins"    // it holds several different ones: ask
	IntentNew     Intent = "new"     // text me again
	IntentNo      Intent = "no"      // I decline
	IntentStatus  Intent = "status"  // where does it stand?
	IntentStop    Intent = "stop"    // opt out: Twilio's words and free text
	IntentStart   Intent = "start"   // opt in again: START, UNSTOP, YES
	IntentHelp    Intent = "help"    // Twilio answers
	IntentUnknown Intent = "unknown" // none of these
)

// Intents are all of them.
var Intents = []Intent{
	IntentPIN, IntentPINs, IntentNew, IntentNo, IntentStatus,
	IntentStop, IntentStart, IntentHelp, IntentUnknown,
}

// A Reading is what [Read] makes of a customer's text.
type Reading struct {
	Intent Intent
	// PIN is the candidate, in ASCII digits, if Intent is IntentPIN.
	PIN PIN
	// Reference is the order that the text names, as the order has it; empty
	// if it names none, or several.
	Reference string
	// Word is Twilio's own, upper case, where the whole text is one of them:
	// Twilio answers those, so we stay silent.
	Word string
}

// A Situation is what a text is read in the light of.
type Situation struct {
	// Lengths that a PIN can have here, in digits: PIN_LENGTH, and those of
	// live PINs from before it was changed.
	Lengths []int
	// References are those of the line's orders.
	References []string
	// Locale is the language of our texts to this line, whose words are read.
	// English is read where we have no words of it.
	Locale string
}

// twiliosWords are acted on by Twilio, who blocks, unblocks or answers, where
// one of them is the whole text, in any case:
// https://help.twilio.com/articles/223134027. They are never commands of ours.
var twiliosWords = map[string]Intent{
	"STOP": IntentStop, "STOPALL": IntentStop, "UNSUBSCRIBE": IntentStop,
	"CANCEL": IntentStop, "END": IntentStop, "QUIT": IntentStop,
	"REVOKE": IntentStop, "OPTOUT": IntentStop,
	"START": IntentStart, "UNSTOP": IntentStart, "YES": IntentStart,
	"HELP": IntentHelp, "INFO": IntentHelp,
}

// Read finds out what a customer means. It forgives spelling and guesses
// nothing that costs: where a text can mean two things of which one is final,
// it is IntentUnknown, and the customer is asked. It takes time linear in text.
//
// What wins, from the top: one of Twilio's words alone; declining, if nothing
// else is said; opting out, beside anything else; a PIN, unless the text also
// declines; then NEW, STATUS and START. Digits that are no PIN of a possible
// length (a PIN with a digit too few, a price, a telephone number) are
// IntentUnknown, so that they cost no try.
func Read(text string, s Situation) Reading {
	word := strings.ToUpper(strings.TrimSpace(text))
	if intent, ok := twiliosWords[word]; ok {
		return Reading{Intent: intent, Word: word}
	}

	speak := tongue(s.Locale)
	t := tokenize(plain(text), orderNames(s.References))
	pins := t.pins(s.Lengths)
	said := t.speech()
	r := Reading{Intent: IntentUnknown, Reference: t.reference()}
	wordless := strings.Trim(said, "#@ ") == "" // most texts are a PIN and nothing else
	switch {
	case !wordless && speak.no.MatchString(said):
		r.Intent = IntentNo
	case !wordless && speak.stops(said):
		r.Intent = IntentStop
	case !wordless && len(pins) > 0 && speak.declines(said):
		// Does the PIN confirm, or is it what they decline? Both are final.
	case len(pins) > 1:
		r.Intent = IntentPINs
	case len(pins) == 1:
		r.Intent, r.PIN = IntentPIN, PIN(pins[0])
	case speak.fresh.MatchString(said):
		r.Intent = IntentNew
	case speak.status.MatchString(said):
		r.Intent = IntentStatus
	case speak.start.MatchString(said):
		r.Intent = IntentStart
	case isPIN(r.Reference, s.Lengths):
		// An order's number that looks like a PIN, and nothing else: perhaps it
		// is both, and a right PIN must never be refused.
		r.Intent, r.PIN, r.Reference = IntentPIN, PIN(r.Reference), ""
	}
	return r
}

// isPIN reports whether s is digits, as many as a PIN can have.
func isPIN(s string, lengths []int) bool {
	return slices.Contains(lengths, len(s)) && strings.Trim(s, "0123456789") == ""
}
