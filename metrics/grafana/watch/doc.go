// Package watch proves that ops see faults: it has no code but its test.
//
// The test runs real shops, each the service's own program with a phone booth
// for Twilio, and Debian's Prometheus, which scrapes them all and judges them by
// the rules of metrics/alerts. Customers order (customers_test.go); one shop
// goes well, one plays every road there is, and to each of the others something
// happens (faults_test.go). Then each shop must have raised the alerts of its
// fault and no other, and every panel of every dashboard must have something to
// show (watch_test.go).
//
// What takes hours is made to take a minute, by one factor for all that has a
// duration (faster_test.go). So this proves the wiring, from the line of code
// that counts to the page that wakes somebody; that the rules fire after the
// true times is proved by promtool, on made-up series, in metrics/alerts.
package watch
