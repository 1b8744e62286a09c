package repo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/countersign/countersign"

// A row says what a package of ours, and those beneath it that have no row of
// their own, may import. Packages of one row may import each other. Only what
// is built into the programs counts: tests may import more.
type row struct {
	pkg     string   // within the module
	may     []string // the rows it may import, and no other of ours
	never   []string // what it must not reach, by however many imports; x/... is x and all beneath
	onlyStd bool     // of others', the standard library alone
}

const (
	sdk      = "github.com/twilio/..."
	sqlite   = "modernc.org/sqlite/..."
	postgres = "github.com/jackc/pgx/v5/..."
)

// imports is the road that every import goes, one way. A package that it does
// not name fails the test, so that each new one is decided on.
var imports = []row{
	{pkg: "twiml", onlyStd: true},
	{pkg: "flow", never: []string{"net/http", "database/sql", sdk}},
	{pkg: "flow/flowtest", may: []string{"flow"}},
	{pkg: "metrics", may: []string{"flow"}},
	{pkg: "handlers", may: []string{"flow", "twiml", "metrics"}, never: []string{sdk, sqlite, postgres}},
	{pkg: "internal/ledger", may: []string{"flow"}},
	{pkg: "internal/outbox", may: []string{"flow"}},
	{pkg: "internal/twilio", may: []string{"flow"}},
	{pkg: "internal/traces", may: []string{"flow"}, never: []string{"database/sql", sdk}},
	{pkg: "internal/phonebooth", may: []string{"twiml"}}, // it must not share our bugs
	{pkg: "internal/pgtest"},
	{pkg: "internal/repo"},
	{pkg: "internal/screenshots"},
	{pkg: "cmd/countersign", may: []string{
		"flow", "twiml", "metrics", "handlers",
		"internal/ledger", "internal/outbox", "internal/twilio", "internal/traces", "internal/phonebooth",
	}},
	{pkg: "cmd/phonebooth", may: []string{"internal/phonebooth"}},
}

func TestImports(t *testing.T) {
	for _, breach := range breaches(imports, load(t)) {
		t.Error(breach)
	}
}

func TestImportsBreached(t *testing.T) {
	table := []row{
		{pkg: "twiml", onlyStd: true},
		{pkg: "flow", never: []string{"net/http", "example.com/sdk/..."}},
		{pkg: "flow/flowtest", may: []string{"flow"}},
		{pkg: "handlers", may: []string{"flow", "twiml"}},
		{pkg: "internal/a", may: []string{"flow"}},
		{pkg: "internal/b", may: []string{"flow"}},
		{pkg: "cmd/serve", may: []string{"handlers", "internal/a"}},
	}
	for _, tt := range []struct {
		name string
		pkg  string
		imp  []string
		want []string
	}{
		{"what the row allows", "handlers", []string{"flow", "twiml", "net/http", "example.com/mux"}, nil},
		{"the standard library, under a row that allows it alone", "twiml", []string{"encoding/xml"}, nil},
		{"a package beneath another of its row", "internal/a/sub", []string{"internal/a", "flow"}, nil},
		{"a package and one beneath it", "internal/a", []string{"internal/a/sub"}, nil},
		{"a name that only begins like a forbidden one", "flow", []string{"example.com/sdkless"}, nil},

		{"a row it may not import", "flow", []string{"handlers"}, []string{"flow imports handlers"}},
		{"its neighbour", "internal/a", []string{"internal/b"}, []string{"internal/a imports internal/b"}},
		{"a command", "handlers", []string{"cmd/serve"}, []string{"handlers imports cmd/serve"}},
		{"beneath its neighbour", "internal/b", []string{"internal/a/sub"}, []string{"internal/b imports internal/a/sub"}},
		{"a row of its own beneath it", "flow", []string{"flow/flowtest"}, []string{"flow imports flow/flowtest"}},
		{"a package without a row", "handlers", []string{"utils"}, []string{"handlers imports utils"}},
		{"being a package without a row", "utils", nil, []string{"utils has no row: say what it may import"}},
		{"being named like a row and something", "flowers", nil, []string{"flowers has no row: say what it may import"}},
		{"another's package, under a row of the standard library alone", "twiml", []string{"example.com/mux"},
			[]string{"twiml imports example.com/mux, which is not of the standard library"}},
		{"what is forbidden", "flow", []string{"net/http"}, []string{"flow reaches net/http: flow > net/http"}},
		{"what is forbidden, through another", "flow", []string{"example.com/client"},
			[]string{"flow reaches example.com/sdk/rest: flow > example.com/client > example.com/sdk/rest"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := graph{
				"example.com/client":   {Imports: []string{"example.com/sdk/rest"}},
				"example.com/sdk/rest": {},
				"example.com/sdkless":  {},
				"example.com/mux":      {},
				"net/http":             {Standard: true, Imports: []string{"io"}},
				"encoding/xml":         {Standard: true, Imports: []string{"io"}},
				"io":                   {Standard: true},
			}
			g[qualify(tt.pkg)] = node{}
			var imp []string
			for _, path := range tt.imp {
				if _, others := g[path]; !others {
					path = qualify(path)
				}
				imp = append(imp, path)
			}
			g[qualify(tt.pkg)] = node{Imports: imp}
			if diff := cmp.Diff(tt.want, breaches(table, g)); diff != "" {
				t.Errorf("breaches (-want +got):\n%s", diff)
			}
		})
	}
}

// A graph has every package that is built into the programs, by import path.
type graph map[string]node

type node struct {
	Standard bool
	Imports  []string
}

// load asks the go command for the graph of every package of this module.
func load(t *testing.T) graph {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Standard,Imports", "./...")
	list.Dir = root
	var stderr bytes.Buffer
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	g := graph{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			node
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		g[p.ImportPath] = p.node
	}
	if len(ours(g)) == 0 {
		t.Fatalf("go list names no package of %s", module)
	}
	return g
}

// breaches returns, a sentence each, what in g goes against table.
func breaches(table []row, g graph) []string {
	var found []string
	for _, path := range ours(g) {
		name := short(path)
		r, ok := find(table, name)
		if !ok {
			found = append(found, name+" has no row: say what it may import")
			continue
		}
		for _, imp := range g[path].Imports {
			if under(imp, module) {
				to, _ := find(table, short(imp))
				if to.pkg != r.pkg && !slices.Contains(r.may, to.pkg) {
					found = append(found, fmt.Sprintf("%s imports %s", name, short(imp)))
				}
			} else if r.onlyStd && !g[imp].Standard {
				found = append(found, fmt.Sprintf("%s imports %s, which is not of the standard library", name, imp))
			}
		}
		for _, pattern := range r.never {
			if road := g.road(path, pattern); road != nil {
				found = append(found, fmt.Sprintf("%s reaches %s: %s", name, short(road[len(road)-1]), strings.Join(road, " > ")))
			}
		}
	}
	return found
}

// find returns the row of a package: its own, else that of the nearest above.
func find(table []row, pkg string) (nearest row, ok bool) {
	for _, r := range table {
		if under(pkg, r.pkg) && len(r.pkg) > len(nearest.pkg) {
			nearest, ok = r, true
		}
	}
	return nearest, ok
}

// road returns a shortest chain of imports from one package to any that
// pattern names, both ends included, or nil if there is none.
func (g graph) road(from, pattern string) []string {
	tree, whole := strings.CutSuffix(pattern, "/...")
	came := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at == pattern || whole && under(at, tree) {
			var back []string
			for ; at != ""; at = came[at] {
				back = append(back, short(at))
			}
			slices.Reverse(back)
			return back
		}
		for _, imp := range g[at].Imports {
			if _, seen := came[imp]; !seen {
				came[imp] = at
				queue = append(queue, imp)
			}
		}
	}
	return nil
}

// ours returns the import paths in g that belong to this module, in order.
func ours(g graph) []string {
	var paths []string
	for path := range g {
		if under(path, module) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// under reports whether path is tree or beneath it.
func under(path, tree string) bool {
	return path == tree || strings.HasPrefix(path, tree+"/")
}

func qualify(name string) string { return module + "/" + name }

func short(path string) string { return strings.TrimPrefix(path, module+"/") }
