package flowtest_test

import (
	"errors"
	"testing"
	"time"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/flow/flowtest"
)

func TestTheSenderInMemory(t *testing.T) {
	flowtest.TestSender(t, func(*testing.T) flowtest.SenderBench {
		s := flowtest.NewSender()
		now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
		s.Now = func() time.Time { return now }
		return flowtest.SenderBench{
			Sender: s, Taken: s.Taken, Lose: s.Lose, Hang: s.Hang,
			Refuse: func(code int) {
				s.Refuse(&flow.SendError{Class: s.Class(code), Code: code, Err: errors.New("refused")})
			},
			Now:  s.Now,
			Pass: func(d time.Duration) { now = now.Add(d) },
		}
	})
}
