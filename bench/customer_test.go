package main

import (
	"testing"

	"github.com/countersign/countersign/flow"
)

// TestNumbers: whom the service would refuse would not be measured.
func TestNumbers(t *testing.T) {
	seen := map[string]customer{}
	for _, first := range []customer{0, 999_000, loopers, subscribers - 500, 2 * subscribers} {
		for c := first; c < first+1000; c++ {
			n, country, err := flow.ParseNumber(c.number(), "US", []string{"US"})
			if err != nil || n.E164() != c.number() || country != "US" {
				t.Fatalf("customer %d, %s: %v in %s, %v", c, c.number(), n.E164(), country, err)
			}
			if other, twice := seen[c.number()]; twice {
				t.Fatalf("customers %d and %d are both %s", other, c, c.number())
			}
			seen[c.number()] = c
		}
	}
}

func TestWrong(t *testing.T) {
	for pin, want := range map[string]string{"482913": "482914", "482919": "482910", "0000": "0001"} {
		if got := wrong(pin); got != want {
			t.Errorf("wrong(%s) = %s, want %s", pin, got, want)
		}
	}
}
