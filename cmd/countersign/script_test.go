package main

import (
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts plays the scripts in testdata. Each has a shop of its own: the
// service and a phone booth, as processes, and a database in a file. A script
// speaks, besides testscript's own commands:
//
//	up [NAME=VALUE …]       opens the booth and starts the service, with these settings
//	down | crash            ends the service: by SIGTERM, which must go well, or SIGKILL
//	serve [NAME=VALUE …]    starts it again
//
//	> [+NUMBER] text        a handset texts us; by default the one used last
//	< [+NUMBER] text        a text that the handset has got or gets soon, not read yet
//	silence                 no text on that handset, nor on its way there
//	again                   Twilio tells us once more of what the handset texted last
//
//	order BROWSER [+NUMBER]                     a browser fills in the form and gets a PIN
//	web BROWSER METHOD PATH [FIELD=VALUE …]     a browser asks
//	json BROWSER METHOD PATH [FIELD=VALUE …]    the same, for JSON
//	tab BROWSER NAME                            opens another tab, by that name
//	hook METHOD PATH [-FLAG …] [FIELD=VALUE …]  somebody calls a webhook
//	get URL                                     a page of what is starting
//	ops METHOD PATH [FIELD=VALUE …]             somebody in ops asks, with OPS_TOKEN if there is one
//	terminal ARG …                              somebody in ops runs countersign
//	status CODE             that was the answer to the last of these, or to >
//	together A -- B         does two of them in the same instant
//	begin A | end           does one of them, and waits for its answer later
//
//	state STATE [BROWSER]   the order gets into that state, as its page tells
//	text STATE [BROWSER]    its text gets that far, as its page tells
//	metric NAME VALUE       a metric gets to that value
//	log WORD …              lines of the log that hold all of these; {request} is the id
//	                        of what was asked last, {message} the text last shown so
//
//	@ DURATION              time passes
//	clock DURATION          the service's clock is off by that much
//	sql STATEMENT           somebody changes the database
//	fault KIND [NAME=VALUE …] | fault | struck   the booth breaks; is mended; has broken
//
// What is answered goes to stdout. Of a text, … is anything, {pin} and {ref}
// are learnt where a text first brings them and must be the same later; so are
// {pin2}, {refB} and so on, which must be others. In what we are told they are
// filled in, as are {order}, the one that browser was told of (or else any),
// {wrong}, a PIN that no text brought, and {long}, 1,600 characters.
//
// At the end of each script every text must have been read, and no PIN be
// found in the database, nor a PIN, a number or a text in the log or the
// metrics.
func TestScripts(t *testing.T) {
	program := buildBooth(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			s, err := newShop(t.Context(), env, program)
			if err != nil {
				return err
			}
			env.Values[shopKey{}] = s
			env.Defer(func() {
				if err := s.close(); err != nil {
					env.T().Fatal(err)
				}
			})
			return nil
		},
		Cmds: forTestscript(),
	})
}

// A command is one of a script's.
type command func(s *shop, out io.Writer, args []string) error

// scriptCommands are TestScripts's. Of those that start the service, the arguments
// are settings, which stay.
var (
	scriptCommands = map[string]command{
		"down":  func(s *shop, _ io.Writer, _ []string) error { return s.end(syscall.SIGTERM) },
		"crash": func(s *shop, _ io.Writer, _ []string) error { return s.end(syscall.SIGKILL) },

		">": asking(">"), "again": asking("again"),
		"<": (*shop).receive, "silence": (*shop).silence,

		"order": (*shop).placeOrder, "tab": (*shop).openTab,
		"web": asking("web"), "json": asking("json"), "hook": asking("hook"),
		"get": (*shop).get, "ops": (*shop).ops, "terminal": (*shop).terminal, "status": (*shop).status,
		"together": (*shop).together, "begin": (*shop).begin, "end": (*shop).finish,

		"state": (*shop).state, "text": (*shop).text, "metric": (*shop).metric, "log": (*shop).log,

		"@": (*shop).pass, "clock": (*shop).setClock, "sql": (*shop).sql,
		"fault": (*shop).fault, "struck": (*shop).struck,
	}
	starts = map[string]func(*shop) error{
		"up":    (*shop).up,
		"serve": (*shop).serve,
	}
)

// forTestscript are all of them, as testscript calls them.
func forTestscript() map[string]func(*testscript.TestScript, bool, []string) {
	all := map[string]func(*testscript.TestScript, bool, []string){}
	for name, do := range scriptCommands {
		all[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			if neg {
				ts.Fatalf("! %s means nothing", name)
			}
			s := ts.Value(shopKey{}).(*shop)
			s.getenv = ts.Getenv
			var out strings.Builder
			err := do(s, &out, args)
			if out.Len() > 0 { // else what was answered before is still to be seen
				_, _ = io.WriteString(ts.Stdout(), out.String()) // into memory
			}
			ts.Check(err)
		}
	}
	for name, do := range starts {
		all[name] = func(ts *testscript.TestScript, neg bool, args []string) {
			if neg {
				ts.Fatalf("! %s means nothing; exec countersign does", name)
			}
			for _, arg := range args {
				setting, value, ok := strings.Cut(arg, "=")
				if !ok {
					ts.Fatalf("%q is no NAME=VALUE", arg)
				}
				ts.Setenv(setting, value)
			}
			s := ts.Value(shopKey{}).(*shop)
			s.getenv = ts.Getenv
			ts.Check(do(s))
		}
	}
	return all
}
