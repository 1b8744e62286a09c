package flow

// A Saying is a text of the catalogue, by name.
type Saying string

// The sayings. [KindPIN] and [KindPINAmount] leave by the outbox; the others
// are TwiML answers, and none of those holds a PIN.
const (
	KindPIN       Saying = "pin"        // the PIN, for an order
	KindPINAmount Saying = "pin_amount" // the same, naming the amount

	AnswerConfirmed   Saying = "confirmed"    // by this reply
	AnswerProved      Saying = "proved"       // right PIN; the form is still to be filled in
	AnswerTryAgain    Saying = "try_again"    // wrong; some tries left
	AnswerLastTry     Saying = "last_try"     // wrong; one try left
	AnswerOtherRoad   Saying = "other_road"   // no tries left by reply; the page has some
	AnswerLocked      Saying = "locked"       // no tries left at all
	AnswerExpired     Saying = "expired"      // too late; a new PIN is on its way
	AnswerNoMore      Saying = "no_more"      // no further PIN can be texted now
	AnswerOnItsWay    Saying = "on_its_way"   // NEW too soon after the last text
	AnswerTwoPINs     Saying = "two_pins"     // several candidates: send one
	AnswerDeclined    Saying = "declined"     // by this NO
	AnswerWhich       Saying = "which"        // NO with several open orders
	AnswerWaits       Saying = "waits"        // STATUS: waiting for the PIN
	AnswerIsConfirmed Saying = "is_confirmed" // it was confirmed before
	AnswerIsDeclined  Saying = "is_declined"  // it was declined before
	AnswerIsLapsed    Saying = "is_lapsed"    // its deadline passed
	AnswerNoneOpen    Saying = "none_open"    // no order of this number waits
	AnswerHint        Saying = "hint"         // we could make nothing of that
	Silence           Saying = "silence"      // an empty <Response/>
)

// Answers are the sayings that go out as TwiML.
var Answers = []Saying{
	AnswerConfirmed, AnswerProved, AnswerTryAgain, AnswerLastTry, AnswerOtherRoad,
	AnswerLocked, AnswerExpired, AnswerNoMore, AnswerOnItsWay, AnswerTwoPINs,
	AnswerDeclined, AnswerWhich, AnswerWaits, AnswerIsConfirmed, AnswerIsDeclined,
	AnswerIsLapsed, AnswerNoneOpen, AnswerHint,
}

// Sayings are the texts of the catalogue.
var Sayings = append([]Saying{KindPIN, KindPINAmount}, Answers...)

// Values fill a saying's placeholders.
type Values struct {
	Shop   string
	Order  string // its reference
	Amount string
	PIN    PIN      // only for KindPIN and KindPINAmount
	Host   string   // whose page the PIN belongs to, for the WebOTP line; empty for none
	Tries  int      // left by reply
	Length int      // of the PIN, in digits
	Orders []string // the open ones' references
}
