package handlers

import (
	"fmt"
	"strconv"
	"time"

	"github.com/countersign/countersign/flow"
)

// guardSays tells ops why the guard refuses a text.
var guardSays = map[flow.Reason]string{
	flow.ReasonNumber:  "this number has had as many texts as TEXTS_PER_NUMBER allows",
	flow.ReasonSerials: "this number has had as many new PINs as a day allows",
	flow.ReasonDay:     "TEXTS_PER_DAY is used up until midnight UTC",
	flow.ReasonIP:      "the address has asked as often as REQUESTS_PER_IP allows",
	flow.ReasonCountry: "its country is not one of COUNTRIES",
	flow.ReasonOptOut:  "its owner told us to stop; only START from that phone undoes it",
	flow.ReasonSoon:    "the last text is still on its way",
	flow.ReasonOrders:  "too many orders of this number are open",
	flow.ReasonAnswers: "its replies have had as many answers as a day allows",
	flow.ReasonBreaker: "Twilio refuses all our texts, or all to this country",
}

// classSays tells ops what an error's class means, and what follows.
var classSays = map[flow.Class]string{
	flow.ClassRetry:    "Twilio was too busy: tried again by itself",
	flow.ClassUnknown:  "no answer, or nonsense: looked for before it is tried again",
	flow.ClassNumber:   "this number cannot be texted",
	flow.ClassCarrier:  "it did not get there, this time: the customer may ask again",
	flow.ClassOptedOut: "the customer told Twilio to stop",
	flow.ClassCountry:  "our account may not text this country: geo permissions",
	flow.ClassConfig:   "our account or sender is set up wrong: texts are held back until it is mended",
	flow.ClassFraud:    "Twilio suspects pumping, and has closed the number's range for a while",
	flow.ClassExpired:  "it could not leave while its PIN was good",
	flow.ClassBug:      "we asked for nonsense: report it",
}

// reasonOf is classSays, or the class itself.
func reasonOf(c flow.Class) string {
	if says, ok := classSays[c]; ok {
		return says
	}
	return string(c)
}

// stamp is a time for ops, in UTC.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// count says how much of a ceiling is used.
func count(n, of int, per time.Duration) string {
	if per == 0 {
		return fmt.Sprintf("%d of %d", n, of)
	}
	return fmt.Sprintf("%d of %d in %s", n, of, hours(per))
}

// hours is a span without its noughts.
func hours(d time.Duration) string {
	if d%time.Hour == 0 {
		return strconv.Itoa(int(d/time.Hour)) + " h"
	}
	return d.String()
}

func number(before string, n int64) string { return before + strconv.FormatInt(n, 10) }
