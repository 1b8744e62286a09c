package main

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/countersign/countersign/internal/pgtest"
)

// TestPostgresScripts plays the scripts in testdata/postgres, as [TestScripts]
// does. An empty PostgreSQL is at $POSTGRES; it holds no PIN at the end.
func TestPostgresScripts(t *testing.T) {
	playOnPostgres(t, testscript.Params{Dir: "testdata/postgres"}, func(*testscript.Env) {})
}

// TestOpsOnPostgres plays the scripts of what ops sees on PostgreSQL too.
func TestOpsOnPostgres(t *testing.T) {
	scripts, err := filepath.Glob("testdata/ops_*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("%d scripts, %v", len(scripts), err)
	}
	playOnPostgres(t, testscript.Params{Files: scripts}, func(env *testscript.Env) {
		env.Setenv("DATABASE_URL", env.Getenv("POSTGRES"))
	})
}

// playOnPostgres plays scripts that have a PostgreSQL, once each is set up.
func playOnPostgres(t *testing.T, scripts testscript.Params, setUp func(*testscript.Env)) {
	t.Helper()
	program := buildBooth(t)
	server := pgtest.Shared(t)
	testscript.Run(t, testscript.Params{
		Dir: scripts.Dir, Files: scripts.Files,
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
			setUp(env)
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
