package main

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/metrics"
)

// A textSize is how long a text of the catalogue gets.
type textSize struct {
	Text       string `json:"text"`
	Locale     string `json:"locale"`
	Segments   int    `json:"segments"`
	Encoding   string `json:"encoding"` // GSM-7 or UCS-2
	Characters int    `json:"characters"`
}

// lookAtTexts measures every text of the catalogue with our shop and host, and the
// longest values that an order may bring besides.
func (d *doctor) lookAtTexts(context.Context) []finding {
	if d.texts == nil {
		return unseen("PUBLIC_URL, SHOP_NAME or TEXTS_FILE is not set right")
	}
	found := fine("")
	long, foreign := 0, ""
	for _, locale := range flow.Locales {
		for _, saying := range flow.Sayings {
			said, err := d.texts.Say(saying, locale, d.longest(saying))
			if err != nil {
				return []finding{problem(because(err), "set TEXTS_FILE right")}
			}
			size := textSize{Text: string(saying), Locale: locale, Encoding: "GSM-7", Characters: utf8.RuneCountInString(said)}
			n, ucs2 := flow.Segments(said)
			size.Segments = n
			if ucs2 {
				size.Encoding = "UCS-2"
				foreign = offAlphabet(said)
			}
			if n > 1 {
				long++
			}
			if saying == flow.KindPIN || saying == flow.KindPINAmount {
				d.pinSegment = max(d.pinSegment, n)
			}
			found.Texts = append(found.Texts, size)
		}
	}
	if long == 0 {
		found.Seen = "every text fits one segment, with the longest order number and amount"
		return []finding{found}
	}
	found.Verdict = isWarning
	found.Seen = fmt.Sprintf("%d of %d texts take more than one segment with the longest order number and amount, and each segment costs a text",
		long, len(found.Texts))
	found.Do = fmt.Sprintf("shorten SHOP_NAME (%d characters) or the host of PUBLIC_URL (%d); the built-in texts are made for 20 and 40",
		utf8.RuneCountInString(d.ShopName), len(d.publicURL.Hostname()))
	if d.TextsFile != "" {
		found.Do += ", or what TEXTS_FILE says"
	}
	if foreign != "" {
		found.Do += fmt.Sprintf("; %s is not in the GSM alphabet, without which a segment holds 70 characters in place of 160", foreign)
	}
	return []finding{found}
}

// longest are values that take as much room as an order's can, or nearly: a
// reference of 20 characters, an amount of 16.
func (d *doctor) longest(s flow.Saying) flow.Values {
	reference := strings.Repeat("8", 20)
	v := flow.Values{
		Shop: d.ShopName, Host: d.publicURL.Hostname(), Order: reference, Amount: strings.Repeat("8", 16),
		Tries: flow.ReplyTries, Length: flow.MaxPINLength, Orders: []string{reference, reference, reference},
	}
	if s == flow.KindPIN || s == flow.KindPINAmount {
		length := min(max(d.pinLength, flow.MinPINLength), flow.MaxPINLength)
		v.PIN = flow.PIN(strings.Repeat("8", length))
	}
	return v
}

// offAlphabet names the first character that makes text cost more; empty if
// there is none.
func offAlphabet(text string) string {
	for _, r := range text {
		if _, ucs2 := flow.Segments(string(r)); ucs2 {
			return fmt.Sprintf("%q", r)
		}
	}
	return ""
}

// tooLikely are odds, on one line and day, that a shop should not offer.
const tooLikely = 1e-4

// guessing tells how likely guessing is.
func (d *doctor) guessing(context.Context) []finding {
	switch {
	case d.pinLength < flow.MinPINLength || d.pinLength > flow.MaxPINLength:
		return unseen("PIN_LENGTH is not set right")
	case d.textsPerNumber.N < 1 || d.textsPerNumber.Per <= 0:
		return unseen("TEXTS_PER_NUMBER is not set right")
	}
	serials := serialsPerDay(d.textsPerNumber, d.textsPerDay)
	one, line := oddsOfOrder(d.pinLength, serials), oddsOfLine(d.pinLength, serials)
	seen := fmt.Sprintf("%d digits, %s a line and day. Whoever guesses all day confirms a given order by odds of %s; any on a line, at worst with %d open, %s; any on 1,000 such lines, %s",
		d.pinLength, counted(serials, "PIN"), odds(one), flow.OpenOrders, odds(line), odds(1-math.Pow(1-line, 1000)))
	if line <= tooLikely {
		return []finding{fine(seen)}
	}
	enough := d.pinLength
	for enough < flow.MaxPINLength && oddsOfLine(enough, serials) > tooLikely {
		enough++
	}
	do := fmt.Sprintf("set PIN_LENGTH to %d", enough)
	fewer := serials
	for fewer > 1 && oddsOfLine(d.pinLength, fewer) > tooLikely {
		fewer--
	}
	if oddsOfLine(d.pinLength, fewer) <= tooLikely {
		do += fmt.Sprintf(", or TEXTS_PER_NUMBER to %d/24h", fewer)
	}
	return []finding{warning(seen, do)}
}

// serialsPerDay is how many PINs a line can get in 24 hours: each comes with a
// text of its own.
func serialsPerDay(perNumber flow.Rate, perDay int) int {
	const day = 24 * time.Hour
	spans := int((day + perNumber.Per - 1) / perNumber.Per)
	return min(flow.SerialsPerDay, perNumber.N*spans, max(perDay, 1))
}

// oddsOfOrder are those that an order is confirmed by guessing: of k guesses at
// each of m PINs, out of N = 10^digits, that one hits,
//
//	p = 1 − (1 − k/N)^m, with k the tries of both roads.
func oddsOfOrder(digits, m int) float64 {
	const k = flow.WebTries + flow.ReplyTries
	return 1 - math.Pow(1-k/math.Pow10(digits), float64(m))
}

// oddsOfLine are those that any order of a line is confirmed by guessing. A
// reply names no order, so each is a guess at the PINs of all that are open, up
// to [flow.OpenOrders]: that is k of the i-th PIN,
//
//	p = 1 − Π (1 − kᵢ/N), with kᵢ = web tries + reply tries × min(i, open orders).
func oddsOfLine(digits, m int) float64 {
	none := 1.0
	for i := 1; i <= m; i++ {
		k := flow.WebTries + flow.ReplyTries*min(i, flow.OpenOrders)
		none *= 1 - float64(k)/math.Pow10(digits)
	}
	return 1 - none
}

// odds is a probability as people say it.
func odds(p float64) string {
	if p > 0.1 {
		return fmt.Sprintf("%.0f %%", 100*p)
	}
	return "1 in " + grouped(int64(math.Round(1/p)))
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// spending tells what a day can cost at most.
func (d *doctor) spending(context.Context) []finding {
	if d.textsPerDay < 1 {
		return unseen("TEXTS_PER_DAY is not set right")
	}
	prices := metrics.Prices()
	price, dearest := 0.0, ""
	for _, country := range d.countries {
		p, ok := prices[country]
		if !ok {
			p = prices["ZZ"]
		}
		if p > price {
			price, dearest = p, country
		}
	}
	segments := max(d.pinSegment, 1)
	cost := float64(d.textsPerDay) * float64(segments) * price
	return []finding{fine(fmt.Sprintf(
		"%s texts a day at most, of %s: about $%s, were all of them to %s, at a rough $%.3f a segment; answers to replies come on top, %d a line and day at most",
		grouped(int64(d.textsPerDay)), counted(segments, "segment"), grouped(int64(math.Ceil(cost))), dearest, price, flow.AnswersPerDay))}
}
