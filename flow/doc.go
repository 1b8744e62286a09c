// Package flow decides what a text conversation says next.
//
// A customer's number with our sender is a [Line]; each order on it is a
// [Conversation]. [Machine.Next] holds every rule of a conversation and no side
// effect, [Judge] compares a PIN and names the event, and [Desk] is the shell
// that loads a line, asks the two, and saves the outcome under the line's
// version, or asks again. Nothing else changes a conversation.
//
// PINs are derived ([Keyring.PIN]) and never stored; what customers text is
// read by [Read]; what we say stands in [Texts]. Whether a text may be spent is
// the [Guard]'s to say. What the desk needs of the world are three ports: the
// [Ledger] remembers, the [Sender] texts, the [Watcher] counts; ops looks in by
// the ledger's [Records]. Package flowtest holds the suites that their
// implementations pass.
//
// Start reading at machine.go, then desk.go.
package flow

//go:generate go test -count=1 -run ^TestDocsDrawTheTable$ . -update
