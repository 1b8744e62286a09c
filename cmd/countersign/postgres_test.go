package main

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/countersign/countersign/internal/pgtest"
)

// TestPostgresScripts plays the scripts in testdata/postgres, as [TestScripts]
// does. An empty PostgreSQL is at $POSTGRES; it holds no PIN at the end.
func TestPostgresScripts(t *testing.T) {
	program := buildBooth(t)
	server := pgtest.Shared(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/postgres",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			s, err := newShop(t.Context(), env, program)
			if err != nil {
				return err
			}
			databaseURL := server.URL(t)
			u, err := url.Parse(databaseURL)
			if err != nil {
				return err
			}
			env.Setenv("POSTGRES", databaseURL)
			env.Values[shopKey{}] = s
			env.Defer(func() {
				// All that is in it, in one text.
				rows := server.SQL(t, fmt.Sprintf(`SELECT schema_to_xml('%s', true, false, '')`, u.Query().Get("search_path")))
				if !strings.Contains(rows, s.sender()) {
					env.T().Fatal("PostgreSQL holds nothing to search")
				}
				pins, numbers, _, err := s.secrets()
				if err != nil {
					env.T().Fatal(err)
				}
				if found := leaked(rows, append(numbers, s.sender()), pins); len(found) > 0 {
					env.T().Fatal(fmt.Sprintf("PostgreSQL holds %d PINs", len(found)))
				}
				if err := s.close(); err != nil {
					env.T().Fatal(err)
				}
			})
			return nil
		},
		Cmds: forTestscript(),
	})
}
