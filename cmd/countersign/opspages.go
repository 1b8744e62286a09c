package main

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/handlers"
)

// opsPages puts the ops pages together.
func (s *service) opsPages(c checked, desk *flow.Desk, sender flow.Sender) (http.Handler, error) {
	return handlers.NewOps(handlers.OpsConfig{
		Desk: desk, Ledger: s.ledger, Class: sender.Class, Rules: desk.Rules,
		Settings: c.inForce(), Log: s.log, Now: clock,
	})
}

// inForce are the settings as ops may see them: of a secret, that it is set,
// and of the secret keys their ids, by which rotation can be followed.
func (c checked) inForce() []handlers.Setting {
	var all []handlers.Setting
	secrets := c.secretFiles()
	values := reflect.ValueOf(c.Settings)
	for _, field := range reflect.VisibleFields(values.Type()) {
		s := handlers.Setting{
			Name:  field.Tag.Get("env"),
			Value: values.FieldByIndex(field.Index).String(),
			Help:  strings.ReplaceAll(field.Tag.Get("help"), " (${default})", ""),
		}
		switch _, secret := secrets[s.Name]; {
		case s.Name == "DATABASE_URL":
			s.Value = withoutPassword(s.Value)
		case s.Name == "SECRET_KEY":
			s.Value = keyIDs(c.secretKeys)
		case secret && s.Value != "":
			s.Value = fmt.Sprintf("set (%d)", len(list(s.Value)))
		case s.Name == "COUNTRIES":
			s.Value = strings.Join(c.countries, ",")
		}
		all = append(all, s)
	}
	return all
}

// withoutPassword names a database without what opens it.
func withoutPassword(databaseURL string) string {
	if strings.HasPrefix(databaseURL, "file:") {
		return databaseURL
	}
	u, err := url.Parse(databaseURL)
	if err != nil {
		return "set"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

func keyIDs(keys []flow.Key) string {
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.ID()
	}
	return "ids, newest first: " + strings.Join(ids, ", ")
}
