package flow

// State is where a conversation stands.
type State string

// The states. New is before the first; the last three are final.
const (
	New         State = "new"
	Asked       State = "asked"       // a PIN is issued; the customer is to answer
	Locked      State = "locked"      // both roads' tries are used up
	Unreachable State = "unreachable" // the text did not or cannot get there
	Confirmed   State = "confirmed"   // by PIN
	Declined    State = "declined"    // by the customer or the shop
	Lapsed      State = "lapsed"      // nobody answered before the order's deadline
)

// States are all but New.
var States = []State{Asked, Locked, Unreachable, Confirmed, Declined, Lapsed}

// Open reports that the conversation has begun and has not ended.
func (s State) Open() bool { return s == Asked || s == Locked || s == Unreachable }

// Event is what happens to a conversation.
type Event string

// The events. The first group is named by [Judge] when a PIN is given.
const (
	Matched  Event = "matched"   // the right, live PIN of a complete order
	Proved   Event = "proved"    // the right, live PIN of an order still to be filled in
	Missed   Event = "missed"    // a wrong PIN; this road has tries left
	Spent    Event = "spent"     // a wrong PIN, and this road's last try; the other has some
	LastMiss Event = "last_miss" // a wrong PIN, and the last try of both roads
	Barred   Event = "barred"    // a PIN by a road without tries: not even compared
	Late     Event = "late"      // a PIN after its deadline: right or wrong, it can do nothing

	// Malformed is never an event of the table: what was typed cannot be a PIN,
	// so that nothing was compared and nothing happened.
	Malformed Event = "malformed"

	Ordered     Event = "ordered"     // the first PIN is asked for
	Again       Event = "again"       // a resend of the live PIN
	Renewed     Event = "renewed"     // a new PIN, since the old one is locked, expired or keyless
	Moved       Event = "moved"       // the number was changed
	Withheld    Event = "withheld"    // asked for, or moved to, a number that has opted out
	Refused     Event = "refused"     // the customer or the shop said no
	Undelivered Event = "undelivered" // Twilio or the carrier says: not there
	Arrived     Event = "arrived"     // the carrier says: there after all
	Stopped     Event = "stopped"     // the customer opted out
	Started     Event = "started"     // the customer opted in again
	Lapse       Event = "lapse"       // the order's deadline passed
)

// Checks are what a given PIN can turn out to be.
var Checks = []Event{Matched, Proved, Missed, Spent, LastMiss, Barred, Late, Malformed}

// Events are all that can happen to a conversation, in the order of the diagram.
var Events = []Event{
	Ordered, Again, Renewed, Moved, Withheld, Matched, Proved, Missed, Spent, LastMiss,
	Barred, Late, Refused, Undelivered, Arrived, Stopped, Started, Lapse,
}

// Effect is what the [Desk] does about an event, besides the new state.
type Effect string

// The effects.
const (
	IssuePIN Effect = "issue PIN" // count the serial up; misses start anew
	TextPIN  Effect = "text PIN"  // write a message to the outbox

	SayConfirmed Effect = "say confirmed"
	SayProved    Effect = "say proved" // thank you; now finish the form
	SayTryAgain  Effect = "say try again"
	SayOtherRoad Effect = "say other road" // no tries left here: NEW, or the page
	SayLocked    Effect = "say locked"
	SayExpired   Effect = "say expired"
	SayDeclined  Effect = "say declined"
	SayStanding  Effect = "say standing" // where the order stands, nothing changed
)

// On is a row's left side: an event that comes in a state.
type On struct {
	State State
	Event Event
}

// Then is a row's right side.
type Then struct {
	State   State
	Effects []Effect
}

// A Machine is a conversation's rules, as data.
type Machine map[On]Then

// Confirmation is the conversation of countersign. What is not in the table
// changes nothing: the asker is told where things stand.
var Confirmation = Machine{
	{New, Ordered}: {Asked, []Effect{IssuePIN, TextPIN}},
	// An opted-out number is not texted, until START.
	{New, Withheld}: {Unreachable, nil},

	{Asked, Matched}:     {Confirmed, []Effect{SayConfirmed}},
	{Asked, Proved}:      {Asked, []Effect{SayProved}},
	{Asked, Missed}:      {Asked, []Effect{SayTryAgain}},
	{Asked, Spent}:       {Asked, []Effect{SayOtherRoad}},
	{Asked, LastMiss}:    {Locked, []Effect{SayLocked}},
	{Asked, Barred}:      {Asked, []Effect{SayOtherRoad}},
	{Asked, Late}:        {Asked, []Effect{SayExpired}},
	{Asked, Again}:       {Asked, []Effect{TextPIN}},
	{Asked, Renewed}:     {Asked, []Effect{IssuePIN, TextPIN}},
	{Asked, Moved}:       {Asked, []Effect{IssuePIN, TextPIN}},
	{Asked, Withheld}:    {Unreachable, nil},
	{Asked, Refused}:     {Declined, []Effect{SayDeclined}},
	{Asked, Undelivered}: {Unreachable, nil},
	{Asked, Stopped}:     {Unreachable, nil},
	{Asked, Lapse}:       {Lapsed, nil},

	// A reply may overtake our bookkeeping and a bad receipt may be wrong, so
	// the right PIN confirms from here just the same.
	{Unreachable, Matched}:  {Confirmed, []Effect{SayConfirmed}},
	{Unreachable, Proved}:   {Asked, []Effect{SayProved}},
	{Unreachable, Missed}:   {Unreachable, []Effect{SayTryAgain}},
	{Unreachable, Spent}:    {Unreachable, []Effect{SayOtherRoad}},
	{Unreachable, LastMiss}: {Locked, []Effect{SayLocked}},
	{Unreachable, Barred}:   {Unreachable, []Effect{SayOtherRoad}},
	{Unreachable, Late}:     {Unreachable, []Effect{SayExpired}},
	{Unreachable, Again}:    {Asked, []Effect{TextPIN}},
	{Unreachable, Renewed}:  {Asked, []Effect{IssuePIN, TextPIN}},
	{Unreachable, Moved}:    {Asked, []Effect{IssuePIN, TextPIN}},
	{Unreachable, Withheld}: {Unreachable, nil},
	{Unreachable, Arrived}:  {Asked, nil},
	{Unreachable, Started}:  {Asked, []Effect{TextPIN}},
	{Unreachable, Refused}:  {Declined, []Effect{SayDeclined}},
	{Unreachable, Lapse}:    {Lapsed, nil},

	{Locked, Barred}:   {Locked, []Effect{SayLocked}},
	{Locked, Late}:     {Locked, []Effect{SayLocked}},
	{Locked, Renewed}:  {Asked, []Effect{IssuePIN, TextPIN}},
	{Locked, Moved}:    {Asked, []Effect{IssuePIN, TextPIN}},
	{Locked, Withheld}: {Unreachable, nil},
	{Locked, Refused}:  {Declined, []Effect{SayDeclined}},
	{Locked, Lapse}:    {Lapsed, nil},
}

// Next returns what follows ev in state s. It reads no clock and no store.
func (m Machine) Next(s State, ev Event) Then {
	if t, ok := m[On{s, ev}]; ok {
		return t
	}
	return Then{s, []Effect{SayStanding}}
}
