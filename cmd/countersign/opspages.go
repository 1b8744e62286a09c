package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/countersign/countersign/flow"
	"github.com/countersign/countersign/handlers"
)

// opsPages puts the ops pages together. Rows is the ledger itself; where ops
// cannot look into it, customers are served all the same.
func (s *service) opsPages(c checked, desk *flow.Desk, sender flow.Sender, rows flow.Ledger) (http.Handler, error) {
	records, ok := rows.(flow.Records)
	if !ok {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, errBlind.Error(), http.StatusNotImplemented)
		}), nil
	}
	return handlers.NewOps(handlers.OpsConfig{
		Desk: desk, Ledger: s.ledger, Records: records, Class: sender.Class, Rules: desk.Rules,
		Settings: c.inForce(), Log: s.log, Now: clock,
	})
}

// errBlind is what ops is told of a ledger that keeps no [flow.Records].
var errBlind = errors.New("this database cannot be looked into")

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
