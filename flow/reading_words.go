package flow

import (
	"regexp"
	"strings"
)

// A grammar knows how people say things in one language. Its patterns read
// what [tokens.speech] writes; Go's take time linear in it.
type grammar struct {
	no, fresh, status, start *regexp.Regexp // match all of a text, or nothing
	stop, notStop            *regexp.Regexp // match in it
	doubt, notDoubt          *regexp.Regexp // decline in it, beside a PIN
}

// grammars by locale. Each locale of the catalogue has one.
var grammars = map[string]*grammar{"en": english()}

// commands are words that are never a reference.
var commands = []string{
	"new", "no", "status",
	"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout",
	"start", "unstop", "yes", "help", "info",
}

// tongue returns the grammar of locale, such as en or en-GB.
func tongue(locale string) *grammar {
	language, _, _ := strings.Cut(locale, "-")
	if g, ok := grammars[language]; ok {
		return g
	}
	return grammars["en"]
}

// stops reports whether a customer wants no more texts. "Please don't stop"
// does not.
func (g *grammar) stops(said string) bool {
	return g.stop.MatchString(g.notStop.ReplaceAllString(said, ""))
}

// declines reports whether a text that holds a PIN also says no.
func (g *grammar) declines(said string) bool {
	return g.doubt.MatchString(g.notDoubt.ReplaceAllString(said, "")) ||
		g.no.MatchString(strings.ReplaceAll(said, "# ", ""))
}

// english is the grammar of English. Every word of a pattern has a space after
// it.
func english() *grammar {
	const (
		polite = `(?:(?:please|pls|plz|thanks|thank you|thank u|thx|ty|hi|hello|hey|dear|sorry|sir|madam|mate|oh|um|cheers) )`
		// naming an order by its reference
		naming = `(?:(?:(?:to|for|of|on|about|my|the|this|that|order|number|nr|no|ref|reference) )*@ )`
		thing  = `(?:pin|pins|code|codes|passcode|password|otp|text|texts|sms|message|messages|one)`

		// Declining is final, so this is narrow: "no idea what this is" is not it.
		decline = `(?:(?:i )?(?:decline|declined|refuse|reject)(?: (?:it|this|that|the order|this order|my order))? ` +
			`|(?:(?:it|this|that|its|thats) )?(?:(?:is|was) )?not (?:me|mine|my order) ` +
			`|(?:(?:it|this|that) )?(?:wasnt|isnt) (?:me|mine|my order) ` +
			`|(?:i )?(?:did not|didnt|have not|havent|never) (?:order|ordered|place|placed|request|requested|make|made) (?:(?:it|this|that|anything|any of (?:it|this|that)|an order|any order|this order|that order|the order) )?` +
			`|(?:i )?(?:do not|dont) want (?:it|this|that|this order|that order|the order|my order) ` +
			`|(?:(?:can|could) you )?(?:i (?:want|need|would like|wish) to )?(?:cancel|stop) (?:(?:my|the|this|that|our) )?order ` +
			`|wrong (?:number|person) )`
	)
	// fillers say nothing by themselves, besides the polite words and the
	// naming of an order.
	fillers := func(words ...string) string {
		return polite + `|` + naming + `|(?:` + strings.Join(words, "|") + `) `
	}

	return &grammar{
		no: whole(`(?:` + polite + `|` + naming + `)*` +
			`(?:(?:(?:no|nope|nah|n|cancel @) |` + decline + `)(?:` + polite + `|` + naming + `)*)+`),

		fresh: whole(`(?:` + fillers("ok", "yes", "can", "could", "would", "may", "you", "u", "i", "id", "need", "want", "like", "to", "get", "send", "text", "give", "me", "us", "my", "a", "an", "the", "it", "just", "now", "asap", "over") +
			`|(?:can|could|may) i have |` + thing + ` (?:(?:for|of) (?:my|the|this) order )?)*` +
			`(?:(?:new|another|resend|again) |(?:send|text) (?:(?:me|us|my|the|a) )*(?:pin|code|passcode|password|otp) |(?:did not|didnt|havent|have not|never) (?:get|got|gotten|receive|received) (?:(?:it|my|the|a|any) )?)` +
			`(?:` + fillers("ok", "asap", "now", "to", "me", "us", "my", "a", "an", "the", "it", "yet", "again") +
			`|` + thing + ` (?:(?:for|of) (?:my|the|this) order )?)*`),

		status: whole(`(?:` + fillers("what", "whats", "is", "the", "my", "of", "for", "order", "orders", "i", "want", "need", "to", "know", "check", "can", "could", "you", "tell", "give", "me") + `)*` +
			`(?:status |(?:where is|wheres) my order )` +
			`(?:` + fillers("of", "on", "for", "my", "the", "order", "orders", "update") + `)*`),

		start: whole(polite + `*(?:start|unstop) (?:(?:again|texting|messaging|sending|texts|messages|me) |` + polite + `)*`),

		stop: regexp.MustCompile(
			// Twilio's words with something beside them, which Twilio does not act on.
			`^` + polite + `*(?:just |# |@ )*(?:stop|stopall) ` +
				`|(?:please|pls|plz|just) stop $|(?:^| )stop please $` +
				`|^` + polite + `*(?:quit|end|revoke|optout)(?: it| this| all)? (?:# |@ |` + polite + `)*$` +
				`|^cancel $` +
				// What people write otherwise.
				`|(?:^| )(?:unsubscribe|unsubscribed|unsub|stopall|optout|opt out|opt me out|opting out|opted out) ` +
				`|(?:^| )(?:stop|quit|cease) (?:all |with )?(?:the |these |this |those |your |all )?(?:texting|sending|messaging|contacting|bothering|spamming|text|texts|messages|sms|spam) ` +
				`|(?:^| )(?:dont|do not|never) (?:ever )?(?:text|message|contact|sms|send me|send any) ` +
				`|(?:^| )no more (?:texts|text|messages|sms|spam) ` +
				`|(?:^| )(?:(?:remove|delete) me |take me off |(?:remove|delete) my (?:number|phone|phone number|mobile) )` +
				`|(?:^| )revoke (?:my )?consent ` +
				`|(?:^| )leave me alone `),
		notStop: regexp.MustCompile(`(?:dont|do not|didnt|did not|never|wont|will not) (?:please )?(?:ever )?(?:stop|unsubscribe|unsub|opt out|opt me out) |stop by `),

		doubt:    regexp.MustCompile(`^(?:` + polite + `|# )*(?:no|nope|nah) |(?:^| )` + decline),
		notDoubt: regexp.MustCompile(`(?:^| )no (?:problem|problems|prob|worries|rush|hurry|idea|need|issue|big deal|more|longer) |(?:dont|do not) cancel `),
	}
}

// whole compiles a pattern that must match all of a text.
func whole(pattern string) *regexp.Regexp { return regexp.MustCompile(`^(?:` + pattern + `)$`) }
