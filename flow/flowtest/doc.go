// Package flowtest holds what package flow's ports promise, as tests, and
// fakes that keep those promises in memory.
//
// [TestLedger] is the suite that every [flow.Ledger] passes; [Ledger] is the
// fake. It shares no code with the databases', so that the two can be held
// against each other.
package flowtest
