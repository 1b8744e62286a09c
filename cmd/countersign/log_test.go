package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// messageIn finds the text that a line of the log is about.
var messageIn = regexp.MustCompile(`\bmessage=([0-9a-f-]{36})`)

// log shows the service's log lines that hold all of some words, as grep does
// for an operator, and waits for the first.
func (s *shop) log(out io.Writer, args []string) error {
	words := strings.NewReplacer(
		"{request}", s.answer.header.Get("X-Request-Id"),
		"{message}", s.memory["message"],
		"{order}", s.anyOrder(),
	)
	for i, arg := range args {
		if args[i] = words.Replace(arg); args[i] == "" {
			return fmt.Errorf("there is no %s yet", arg)
		}
	}
	var found strings.Builder
	err := until(s.ctx, func() (bool, error) {
		log, err := os.ReadFile(filepath.Join(s.dir, logName))
		if err != nil {
			return false, err
		}
	lines:
		for line := range strings.Lines(string(log)) {
			for _, word := range args {
				if !strings.Contains(line, word) {
					continue lines
				}
			}
			found.WriteString(line)
		}
		return found.Len() > 0, nil
	})
	if errors.Is(err, errPatience) {
		return fmt.Errorf("no line of the log has %q: %w", args, err)
	}
	if err != nil {
		return err
	}
	if m := messageIn.FindStringSubmatch(found.String()); m != nil {
		s.memory["message"] = m[1]
	}
	_, err = io.WriteString(out, found.String())
	return err
}
