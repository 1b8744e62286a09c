package phonebooth

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// overrides are how a webhook is called: Twilio's defaults, unless the URL's
// fragment says otherwise (twilio.com/docs/usage/webhooks/webhooks-connection-overrides).
type overrides struct {
	connect, read, total time.Duration
	retries              int
	on                   []string
}

func (o overrides) retriesOn(f failure) bool {
	return slices.Contains(o.on, string(f)) || slices.Contains(o.on, "all")
}

// overridesIn reads the fragment of a webhook's URL. What is out of range or
// unknown is as if it were not there.
func overridesIn(hook string) overrides {
	o := overrides{connect: 5 * time.Second, read: 15 * time.Second, total: 15 * time.Second, retries: 1, on: []string{"ct"}}
	_, fragment, _ := strings.Cut(hook, "#")
	v, err := url.ParseQuery(fragment)
	if err != nil {
		return o
	}
	number := func(name string, min, max int, set func(int)) {
		if n, err := strconv.Atoi(v.Get(name)); err == nil && n >= min && n <= max {
			set(n)
		}
	}
	ms := func(d *time.Duration) func(int) {
		return func(n int) { *d = time.Duration(n) * time.Millisecond }
	}
	number("ct", 100, 10_000, ms(&o.connect))
	number("rt", 100, 15_000, ms(&o.read))
	number("tt", 100, 15_000, ms(&o.total))
	number("rc", 0, 5, func(n int) { o.retries = n })
	if v.Has("rp") {
		o.on = strings.Split(v.Get("rp"), ",")
	}
	return o
}

// bare is hook without fragment and userinfo, otherwise byte for byte: what is
// called, and what is signed.
func bare(hook string) string {
	hook, _, _ = strings.Cut(hook, "#")
	scheme, rest, ok := strings.Cut(hook, "://")
	if !ok {
		return hook
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		end = i
	}
	return scheme + "://" + rest[strings.LastIndexByte(rest[:end], '@')+1:]
}

func userinfo(hook string) *url.Userinfo {
	u, err := url.Parse(hook)
	if err != nil {
		return nil
	}
	return u.User
}

// otherPort is u with a port that it is not at.
func otherPort(u string) string {
	parsed, err := url.Parse(u)
	if err != nil {
		return u
	}
	host := parsed.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	port := "8443"
	if parsed.Port() == port {
		port = "9443"
	}
	return strings.Replace(u, parsed.Host, host+":"+port, 1)
}

// addQuery appends v to u's query.
func addQuery(u string, v url.Values) string {
	if len(v) == 0 {
		return u
	}
	join := "?"
	if strings.Contains(u, "?") {
		join = "&"
	}
	return u + join + v.Encode()
}

// resolve is where ref leads from the document at base.
func resolve(base, ref string) (string, error) {
	from, err := url.Parse(bare(base))
	if err != nil {
		return "", err
	}
	to, err := from.Parse(ref)
	if err != nil {
		return "", err
	}
	if !isHTTP(to) || to.Host == "" {
		return "", fmt.Errorf("%q is not an http or https URL", ref)
	}
	return to.String(), nil
}
