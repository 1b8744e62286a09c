package main

import (
	"strings"
	"testing"
)

func TestReplace(t *testing.T) {
	page := "# Page\n<!-- bench roads -->\nold\n<!-- /bench roads -->\nprose\n<!-- bench facts -->\n<!-- /bench facts -->\n"
	for _, tt := range []struct {
		name, page, place, want, err string
	}{
		{"what was there goes, what is around stays", page, "roads",
			strings.Replace(page, "old\n", "new\n", 1), ""},
		{"an empty place is filled", page, "facts",
			strings.Replace(page, "<!-- /bench facts", "new\n<!-- /bench facts", 1), ""},
		{"a place that the page does not have", page, "scale", "", "no <!-- bench scale -->"},
		{"a place without an end", "<!-- bench roads -->\nold\n", "roads", "", "no <!-- /bench roads -->"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := replace([]byte(tt.page), tt.place, "new\n")
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Fatalf("replace: %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || string(got) != tt.want {
				t.Errorf("replace = %v, %s\nwant %s", err, got, tt.want)
			}
		})
	}
}

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		name             string
		figure, bar, aim float64
		want             string
	}{
		{"at the aim", 2.5, 4, 2.5, "aim met"},
		{"past the aim", 2.6, 4, 2.5, "bar met"},
		{"at the bar", 4, 4, 2.5, "bar met"},
		{"past the bar", 4.01, 4, 2.5, "**short of the bar**"},
		{"past a bar that has no aim", 11, 10, 0, "**short of the bar**"},
		{"within a bar that has no aim", 9, 10, 0, "bar met"},
		{"of what nothing was promised", 100, 0, 0, ""},
		{"of which more is better, at the aim", -97, -95, -97, "aim met"},
		{"of which more is better, too little", -90, -95, 0, "**short of the bar**"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := verdict(tt.figure, tt.bar, tt.aim); got != tt.want {
				t.Errorf("verdict = %q, want %q", got, tt.want)
			}
		})
	}
}
