// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package edit_test

import (
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"go/types"
	"path"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/analysis"

	"example.com/singleflight/vet/internal/edit"
	"example.com/singleflight/vet/internal/flight"
)

// importer makes up the packages that the sources import.
type importer struct{ pkgs map[string]*types.Package }

func (i importer) Import(p string) (*types.Package, error) {
	if i.pkgs[p] == nil {
		pkg := types.NewPackage(p, path.Base(p))
		group := types.NewTypeName(token.NoPos, pkg, "Group", nil)
		types.NewNamed(group, types.NewStruct(nil, nil), nil)
		pkg.Scope().Insert(group)
		pkg.MarkComplete()
		i.pkgs[p] = pkg
	}
	return i.pkgs[p], nil
}

// load returns a pass over a package of one source file, which is in no folder.
func load(t *testing.T, source string) *analysis.Pass {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "source", source, parser.ParseComments)
	if err != nil {
		t.Fatalf("%v\n%s", err, source)
	}
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object), Scopes: make(map[ast.Node]*types.Scope)}
	config := &types.Config{
		Importer: importer{make(map[string]*types.Package)},
		Error:    func(error) {}, // imports that are not used
	}
	pkg, _ := config.Check("source", fset, []*ast.File{f}, info)
	return &analysis.Pass{Fset: fset, Files: []*ast.File{f}, Pkg: pkg, TypesInfo: info}
}

func TestImport(t *testing.T) {
	const paths = `"b.org/c"`
	for _, c := range []struct {
		name     string
		imports  string
		params   string // of the function that wants package context
		want     string // the name for the package there, or "" if there is none
		imported string // the import declarations afterwards
	}{
		{"none", "", "", "context", `import "context"`},
		{"parentheses", "import (\n\t\"a\"\n\n\t" + paths + "\n)", "", "context", "import (\n\t\"a\"\n\t\"context\"\n\n\t" + paths + "\n)"},
		{"single", "import " + paths, "", "context", "import (\n\t\"context\"\n\n\t" + paths + "\n)"},
		{"single and named", "import c " + paths + " // c", "", "context", "import (\n\t\"context\"\n\n\tc " + paths + "\n) // c"},
		{"single, standard", "// why\nimport \"z\"\n\nimport " + paths, "", "context", "// why\nimport (\n\t\"context\"\n\t\"z\"\n)\n\nimport " + paths},
		{"there", `import "context"`, "", "context", `import "context"`},
		{"there under a name", `import c "context"`, "", "c", `import c "context"`},
		{"dot", `import . "context"`, "", "context", "import (\n\t\"context\"\n\t. \"context\"\n)"},
		{"blank", `import _ "context"`, "", "context", "import (\n\t\"context\"\n\t_ \"context\"\n)"},
		{"hidden", `import "context"`, "context int", "", ""},
		{"another under its name", `import context "a"`, "", "", ""},
		{"a variable of its name", "", "context int", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			source := "package p\n\n" + c.imports + "\n\nfunc f(" + c.params + ") { _ = 0 }\n"
			pass := load(t, source)
			pos := pass.Files[0].FileStart + token.Pos(strings.Index(source, "_ = 0"))
			name, edits, ok := edit.Import(pass, pos, "context", "context")
			if ok != (c.want != "") || ok && name != c.want {
				t.Errorf("Import = %q, %t, want %q", name, ok, c.want)
			}
			if !ok {
				return
			}
			got := apply(t, pass, source, edits)
			if want := "package p\n\n" + c.imported + "\n\nfunc f() { _ = 0 }\n"; got != want {
				t.Errorf("Import made\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// Several imports that are added to one file go into one declaration.
func TestImportTwice(t *testing.T) {
	source := "package p\n\nimport \"z\"\n\nfunc f() {}\n"
	pass := load(t, source)
	pos := pass.Files[0].Decls[1].(*ast.FuncDecl).Body.Pos()
	var edits []analysis.TextEdit
	for _, p := range []string{"context", "a", "context"} {
		_, more, _ := edit.Import(pass, pos, p, p)
		edits = append(edits, more...)
	}
	got := apply(t, pass, source, edits)
	if want := "package p\n\nimport (\n\t\"a\"\n\t\"context\"\n\t\"z\"\n)\n\nfunc f() {}\n"; got != want {
		t.Errorf("Import, three times: got\n%s\nwant\n%s", got, want)
	}
}

// apply makes the edits, each once, and formats the source, as drivers do.
func apply(t *testing.T, pass *analysis.Pass, source string, edits []analysis.TextEdit) string {
	t.Helper()
	slices.SortStableFunc(edits, func(a, b analysis.TextEdit) int { return int(a.Pos - b.Pos) })
	out, end := "", 0
	seen := make(map[string]bool)
	for _, e := range edits {
		id := fmt.Sprint(e.Pos, e.End, string(e.NewText))
		if seen[id] {
			continue
		}
		seen[id] = true
		pos := pass.Fset.Position(e.Pos).Offset
		out += source[end:pos] + string(e.NewText)
		end = pass.Fset.Position(e.End).Offset
	}
	got, err := format.Source([]byte(out + source[end:]))
	if err != nil {
		t.Fatalf("%v\n%s", err, out+source[end:])
	}
	return string(got)
}

// Obstacle names what shows a group to other packages, in each way in which
// that can be.
func TestObstacle(t *testing.T) {
	const shows = " shows a type of " + flight.XSyncPath + " to other packages"
	for _, c := range []struct{ source, want string }{
		{"var g singleflight.Group", ""},
		{"type t struct { G singleflight.Group }", ""},
		{"type T struct { g singleflight.Group }", ""},
		{"func f(singleflight.Group) {}", ""},
		{"type T struct{}; func (T) m() singleflight.Group { panic(0) }", ""},
		{"var G singleflight.Group", "G" + shows},
		{"var G *singleflight.Group", "G" + shows},
		{"var G []*singleflight.Group", "G" + shows},
		{"var G [2]singleflight.Group", "G" + shows},
		{"var G map[string]*singleflight.Group", "G" + shows},
		{"var G map[singleflight.Group]int", "G" + shows},
		{"var G chan singleflight.Group", "G" + shows},
		{"var G struct{ g singleflight.Group }", "G" + shows},
		{"var G interface{ M(singleflight.Group) }", "G" + shows},
		{"type list[T any] []T; var G list[singleflight.Group]", "G" + shows},
		{"func F(singleflight.Group) {}", "F" + shows},
		{"func F() (_ *singleflight.Group) { return }", "F" + shows},
		{"type T = singleflight.Group", "T" + shows},
		{"type T singleflight.Group; var _ singleflight.Group", ""},
		{"type T []singleflight.Group", "T" + shows},
		{"type T func(singleflight.Group)", "T" + shows},
		{"type T struct { G *singleflight.Group }", "T.G" + shows},
		{"type T struct { singleflight.Group }", "T.Group" + shows},
		{"type T struct{}; func (*T) M() (_ *singleflight.Group) { return }", "T.M" + shows},
	} {
		source := "package p\n\nimport \"" + flight.XSyncPath + "\"\n\n" + c.source + "\n"
		if got := edit.Obstacle(load(t, source)); got != c.want {
			t.Errorf("Obstacle(%q) = %q, want %q", c.source, got, c.want)
		}
		main := strings.Replace(source, "package p", "package main", 1)
		if got := edit.Obstacle(load(t, main)); got != "" {
			t.Errorf("Obstacle(%q) in package main = %q, want none", c.source, got)
		}
	}
}
