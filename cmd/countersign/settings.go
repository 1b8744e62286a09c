package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/countersign/countersign/flow"
)

// Settings are what serve is started with: by flag, or from the environment.
// Help says why one would set each. They are read as text and judged together
// by [Settings.Check], so that whoever sets up a machine is told of everything
// at once.
type Settings struct {
	PublicURL string `env:"PUBLIC_URL" placeholder:"URL" help:"Where customers and Twilio reach us, such as https://shop.example.com. Twilio's signatures are checked against it."`

	TwilioAccountSID          string `name:"twilio-account-sid" env:"TWILIO_ACCOUNT_SID" placeholder:"AC…" help:"The account that texts; webhooks of another are refused."`
	TwilioAuthToken           string `env:"TWILIO_AUTH_TOKEN" placeholder:"TOKEN,…" help:"Signs Twilio's webhooks, and our calls without an API key. Several during rotation, the one for calls first. Or TWILIO_AUTH_TOKEN_FILE."`
	TwilioAPIKey              string `name:"twilio-api-key" env:"TWILIO_API_KEY" placeholder:"SK…" help:"Signs our calls instead of the auth token, and can be revoked alone."`
	TwilioAPISecret           string `name:"twilio-api-secret" env:"TWILIO_API_SECRET" placeholder:"SECRET" help:"The API key's secret. Or TWILIO_API_SECRET_FILE."`
	TwilioFromNumber          string `env:"TWILIO_FROM_NUMBER" placeholder:"+1…" help:"The number that texts and is replied to; E.164."`
	TwilioMessagingServiceSID string `name:"twilio-messaging-service-sid" env:"TWILIO_MESSAGING_SERVICE_SID" placeholder:"MG…" help:"A Messaging Service that texts, in place of the number."`
	TwilioAPIURL              string `name:"twilio-api-url" env:"TWILIO_API_URL" default:"https://api.twilio.com" placeholder:"URL" help:"Twilio's API, or the phone booth's (${default})."`

	SecretKey   string `env:"SECRET_KEY" placeholder:"KEY,…" help:"What PINs and cookies are derived from: at least 32 bytes of any text. Newest first during rotation. Or SECRET_KEY_FILE."`
	DatabaseURL string `env:"DATABASE_URL" default:"file:countersign.db" placeholder:"URL" help:"Where lines, orders and texts are kept (${default}). Or DATABASE_URL_FILE."`

	ListenAddr string `env:"LISTEN_ADDR" default:":8080" placeholder:"ADDR" help:"The public listener: pages and webhooks (${default})."`
	OpsAddr    string `env:"OPS_ADDR" default:"127.0.0.1:9091" placeholder:"ADDR" help:"The private listener: metrics, the ops pages and pprof (${default})."`
	OpsToken   string `env:"OPS_TOKEN" placeholder:"TOKEN" help:"Lets other machines see the ops pages and pprof: a browser's password, or a Bearer token. Without it they answer on loopback only. Or OPS_TOKEN_FILE."`

	ShopName      string `env:"SHOP_NAME" default:"Shop" placeholder:"NAME" help:"Named in every text, so that customers know who asks (${default})."`
	DefaultRegion string `env:"DEFAULT_REGION" default:"US" placeholder:"CC" help:"The country that numbers without a country code are read in (${default})."`
	Countries     string `env:"COUNTRIES" placeholder:"CC,…" help:"The countries we text: those you sell to, and no other, since dear ones are what pumping aims at (the default region)."`

	PINLength string `name:"pin-length" env:"PIN_LENGTH" default:"6" placeholder:"N" help:"Digits of a PIN, 4 to 8 (${default}). Each one more makes guessing ten times as hard."`
	PINTTL    string `name:"pin-ttl" env:"PIN_TTL" default:"24h" placeholder:"DURATION" help:"How long a PIN is good (${default}); people answer texts late."`
	OrderTTL  string `name:"order-ttl" env:"ORDER_TTL" default:"72h" placeholder:"DURATION" help:"When an order that nobody confirmed lapses (${default})."`
	PINCache  string `name:"pin-cache" env:"PIN_CACHE" default:"100000" placeholder:"N" help:"Lines held in memory, about a kilobyte each (${default})."`

	TextsPerDay    string `env:"TEXTS_PER_DAY" default:"2000" placeholder:"N" help:"A hard ceiling on the texts that we start in a UTC day: the most that abuse can cost (${default}). Answers to replies have their own, 10 a number and day."`
	TextsPerNumber string `env:"TEXTS_PER_NUMBER" default:"5/24h" placeholder:"N/DURATION" help:"A hard ceiling on texts to one number (${default})."`
	RequestsPerIP  string `name:"requests-per-ip" env:"REQUESTS_PER_IP" default:"30/1h" placeholder:"N/DURATION" help:"A hard ceiling on requests for a text from one address (${default})."`
	ClientIPHeader string `name:"client-ip-header" env:"CLIENT_IP_HEADER" placeholder:"NAME" help:"The header that our proxy puts the client's address in, such as Fly-Client-IP. Only if nobody can reach us past it."`

	TextsFile    string `env:"TEXTS_FILE" placeholder:"FILE" help:"The shop's own wording of the texts."`
	TemplatesDir string `env:"TEMPLATES_DIR" placeholder:"DIR" help:"The shop's own pages, in place of those built in that have the same file name."`
	LogFormat    string `env:"LOG_FORMAT" default:"text" placeholder:"FORMAT" help:"text or json (${default})."`
	LogLevel     string `env:"LOG_LEVEL" default:"info" placeholder:"LEVEL" help:"debug, info, warn or error (${default})."`
}

// checked are settings that can be worked with.
type checked struct {
	Settings
	publicURL      *url.URL
	apiURL         *url.URL
	sender         string
	authTokens     []string
	secretKeys     []flow.Key
	countries      []string
	pinLength      int
	pinCache       int
	textsPerDay    int
	pinTTL         time.Duration
	orderTTL       time.Duration
	textsPerNumber flow.Rate
	requestsPerIP  flow.Rate
	templates      fs.FS // nil for none
	texts          *flow.Texts
}

// from is the number that texts, or empty where a Messaging Service does.
func (s Settings) from() string {
	if s.TwilioMessagingServiceSID != "" {
		return ""
	}
	return s.TwilioFromNumber
}

// secretFiles are the settings that can also be given as NAME_FILE, since
// secrets are often mounted.
func (s *Settings) secretFiles() map[string]*string {
	return map[string]*string{
		"TWILIO_AUTH_TOKEN": &s.TwilioAuthToken, "TWILIO_API_SECRET": &s.TwilioAPISecret,
		"SECRET_KEY": &s.SecretKey, "DATABASE_URL": &s.DatabaseURL, "OPS_TOKEN": &s.OpsToken,
	}
}

// Check reads the secrets' files and judges all settings. Its error names
// every one that is missing or wrong, and holds no secret.
func (s Settings) Check(getenv func(string) string, readFile func(string) ([]byte, error)) (checked, error) {
	var wrong []error
	bad := func(setting, format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("%s: %s", setting, fmt.Sprintf(format, args...)))
	}
	for name, value := range s.secretFiles() {
		file := getenv(name + "_FILE")
		if file == "" {
			continue
		}
		text, err := readFile(file)
		if err != nil {
			bad(name+"_FILE", "%v", err)
			continue
		}
		*value = strings.TrimSpace(string(text))
	}

	c := checked{Settings: s, sender: s.TwilioFromNumber, authTokens: list(s.TwilioAuthToken)}
	c.publicURL = webURL(s.PublicURL, "PUBLIC_URL", bad)
	c.apiURL = webURL(s.TwilioAPIURL, "TWILIO_API_URL", bad)
	switch {
	case c.publicURL == nil:
	case strings.Contains(c.publicURL.Hostname(), "_"):
		bad("PUBLIC_URL", "Twilio calls no host with an underscore")
	case c.publicURL.Path != "":
		bad("PUBLIC_URL", "must have no path; the pages stand at the root of their host")
	}

	if !accountSID.MatchString(s.TwilioAccountSID) {
		bad("TWILIO_ACCOUNT_SID", "set the account's SID: AC and 32 hexadecimal digits")
	}
	for _, token := range c.authTokens {
		if !plain.MatchString(token) {
			bad("TWILIO_AUTH_TOKEN", "a token has letters and digits only")
		}
	}
	if len(c.authTokens) == 0 {
		bad("TWILIO_AUTH_TOKEN", "set the account's auth token; Twilio signs webhooks with it, also if an API key signs our calls")
	}
	if s.TwilioAPIKey != "" && !apiKey.MatchString(s.TwilioAPIKey) {
		bad("TWILIO_API_KEY", "must be SK and 32 hexadecimal digits")
	}
	if s.TwilioAPISecret != "" && !plain.MatchString(s.TwilioAPISecret) {
		bad("TWILIO_API_SECRET", "has letters and digits only")
	}
	if (s.TwilioAPIKey == "") != (s.TwilioAPISecret == "") {
		bad("TWILIO_API_KEY", "set it together with TWILIO_API_SECRET, or neither")
	}
	switch {
	case s.TwilioFromNumber == "" && s.TwilioMessagingServiceSID == "":
		bad("TWILIO_FROM_NUMBER", "set it, or TWILIO_MESSAGING_SERVICE_SID")
	case s.TwilioMessagingServiceSID != "" && !serviceSID.MatchString(s.TwilioMessagingServiceSID):
		bad("TWILIO_MESSAGING_SERVICE_SID", "must be MG and 32 hexadecimal digits")
	case s.TwilioMessagingServiceSID != "":
		c.sender = s.TwilioMessagingServiceSID
	}
	if _, isNumber := flow.E164(s.TwilioFromNumber); s.TwilioFromNumber != "" && !isNumber {
		bad("TWILIO_FROM_NUMBER", "must be E.164: + and the country code first, only digits after it, such as +14155550123")
	}

	keys := list(s.SecretKey)
	if len(keys) == 0 {
		bad("SECRET_KEY", "set at least %d bytes of random text, such as: openssl rand -base64 32", flow.MinKey)
	}
	for i, key := range keys {
		if len(key) < flow.MinKey {
			bad("SECRET_KEY", "key %d has %d bytes; at least %d are needed, such as: openssl rand -base64 32", i+1, len(key), flow.MinKey)
		}
		c.secretKeys = append(c.secretKeys, flow.Key(key))
	}

	c.countries = list(s.Countries)
	if len(c.countries) == 0 {
		c.countries = []string{s.DefaultRegion}
	}
	if !flow.KnownRegion(s.DefaultRegion) {
		bad("DEFAULT_REGION", "%q is no country; use ISO 3166 alpha-2, such as US", s.DefaultRegion)
	}
	for _, region := range list(s.Countries) {
		if !flow.KnownRegion(region) {
			bad("COUNTRIES", "%q is no country; use ISO 3166 alpha-2, such as US,CA", region)
		}
	}
	c.pinLength = whole(s.PINLength, "PIN_LENGTH", flow.MinPINLength, flow.MaxPINLength, bad)
	c.pinTTL = span(s.PINTTL, "PIN_TTL", bad)
	c.orderTTL = span(s.OrderTTL, "ORDER_TTL", bad)
	c.pinCache = whole(s.PINCache, "PIN_CACHE", 1, 100_000_000, bad)
	c.textsPerDay = whole(s.TextsPerDay, "TEXTS_PER_DAY", 1, 100_000_000, bad)
	if err := c.textsPerNumber.UnmarshalText([]byte(s.TextsPerNumber)); err != nil {
		bad("TEXTS_PER_NUMBER", "%v", err)
	}
	if err := c.requestsPerIP.UnmarshalText([]byte(s.RequestsPerIP)); err != nil {
		bad("REQUESTS_PER_IP", "%v", err)
	}
	if s.TemplatesDir != "" {
		if info, err := os.Stat(s.TemplatesDir); err != nil || !info.IsDir() {
			bad("TEMPLATES_DIR", "%q is no directory", s.TemplatesDir)
		}
		c.templates = os.DirFS(s.TemplatesDir)
	}
	if s.ClientIPHeader != "" && !headerName.MatchString(s.ClientIPHeader) {
		bad("CLIENT_IP_HEADER", "must be a header's name, such as Fly-Client-IP")
	}
	if s.LogFormat != "text" && s.LogFormat != "json" {
		bad("LOG_FORMAT", "must be text or json")
	}
	if err := new(slog.Level).UnmarshalText([]byte(s.LogLevel)); err != nil {
		bad("LOG_LEVEL", "must be debug, info, warn or error")
	}
	if scheme, _, _ := strings.Cut(s.DatabaseURL, ":"); !slices.Contains([]string{"file", "postgres", "postgresql"}, scheme) {
		bad("DATABASE_URL", "must begin with file: or postgres://")
	}
	if strings.TrimSpace(s.ShopName) == "" || strings.ContainsFunc(s.ShopName, unicode.IsControl) || utf8.RuneCountInString(s.ShopName) > 100 {
		bad("SHOP_NAME", "must be one line of at most 100 characters, and not empty; customers are told who asks")
	} else {
		var host string
		if c.publicURL != nil {
			host = c.publicURL.Hostname()
		}
		var err error
		if c.texts, err = s.readTexts(host); err != nil {
			bad("TEXTS_FILE", "%v", err)
		}
	}
	for name, addr := range map[string]string{"LISTEN_ADDR": s.ListenAddr, "OPS_ADDR": s.OpsAddr} {
		_, port, err := net.SplitHostPort(addr)
		if n, e := strconv.Atoi(port); err != nil || e != nil || n < 0 || n > 65535 {
			bad(name, "%q is no address; use host:port or :port", addr)
		}
	}

	slices.SortStableFunc(wrong, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return c, errors.Join(wrong...)
}

// readTexts reads the catalogue, with the shop's own texts in it.
func (s Settings) readTexts(host string) (*flow.Texts, error) {
	var own io.Reader
	if s.TextsFile != "" {
		f, err := os.Open(s.TextsFile)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		own = f
	}
	return flow.LoadTexts(own, s.TextsFile, s.ShopName, host)
}

var (
	accountSID = regexp.MustCompile(`^AC[0-9a-fA-F]{32}$`)
	serviceSID = regexp.MustCompile(`^MG[0-9a-fA-F]{32}$`)
	apiKey     = regexp.MustCompile(`^SK[0-9a-fA-F]{32}$`)
	plain      = regexp.MustCompile(`^[0-9a-zA-Z]+$`)
	headerName = regexp.MustCompile(`^[0-9A-Za-z-]+$`)
)

// list splits at commas and leaves out what is empty.
func list(text string) []string {
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// webURL reads an http or https URL without its trailing slash.
func webURL(text, setting string, bad func(string, string, ...any)) *url.URL {
	u, err := url.Parse(strings.TrimSuffix(text, "/"))
	switch {
	case text == "":
		bad(setting, "set it, such as https://shop.example.com")
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		bad(setting, "must begin with https:// or http:// and name a host")
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		bad(setting, "must have no query, fragment or user")
	default:
		return u
	}
	return nil
}

// whole reads a number from least to most.
func whole(text, setting string, least, most int, bad func(string, string, ...any)) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		bad(setting, "must be a number from %d to %d", least, most)
	}
	return n
}

// span reads a duration that a PIN or an order can live.
func span(text, setting string, bad func(string, string, ...any)) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Minute || d > 30*24*time.Hour {
		bad(setting, "%q must be a duration from 1m to 720h, such as 24h", text)
	}
	return d
}
