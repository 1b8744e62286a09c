package flow

import (
	"testing"
	"time"
)

func TestOneOddNumberShutsNoCountry(t *testing.T) {
	var b breakers
	b.close("US", noon)
	if got := b.trip("US", noon.Add(time.Hour-1)); got != 0 {
		t.Errorf("within the hour: %v", got)
	}
	if got := b.trip("SE", noon); got == 0 {
		t.Error("a country where nothing was taken stays open")
	}
	if got := b.trip("", noon); got == 0 {
		t.Error("what is wrong with all texts is held off by a country's")
	}
	if got := b.trip("US", noon.Add(time.Hour)); got == 0 {
		t.Error("after an hour it stays open")
	}
}

func TestBreakersWaitLongerEachTime(t *testing.T) {
	var b breakers
	now := noon
	for i, want := range []time.Duration{15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute} {
		if got := b.trip("", now); got != want {
			t.Errorf("failure %d: %v, want %v", i+1, got, want)
		}
		if got := b.trip("", now.Add(time.Second)); got != want-time.Second {
			t.Errorf("one that was under way with failure %d: %v, want the same end", i+1, got)
		}
		if got := b.wait("+14155550123", now.Add(want-1)); got != 1 {
			t.Errorf("an instant before the end: %v", got)
		}
		now = now.Add(want)
		if got := b.wait("+14155550123", now); got != 0 {
			t.Errorf("at the end: %v", got)
		}
	}
	if b.trip("", now); !b.open(now) {
		t.Error("one that was tripped is not open")
	}
	if b.close("US", now); b.open(now) || b.wait("+14155550123", now) != 0 {
		t.Error("a text that is taken does not close it")
	}
	if got := b.trip("", now); got != 15*time.Second {
		t.Errorf("after closing it begins with %v", got)
	}
}
