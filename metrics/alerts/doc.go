// Package alerts holds the alerting rules, and tests that they say what they
// should, when they should. It has no code but those.
package alerts
