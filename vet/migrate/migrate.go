// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package migrate defines an Analyzer that moves groups of
// golang.org/x/sync/singleflight to example.com/singleflight, with the type
// of their values.
//
// # Analyzer migrate
//
// migrate: give groups of x/sync the type of their values
//
// A group of x/sync holds values of type any, and each use of a value is
// preceded by a type assertion. Where all values of a group have one type, T,
// the fix makes it a Group[string, T]:
//
//	var g singleflight.Group                               var g singleflight.Group[string, *User]
//
//	v, err, _ := g.Do(id, func() (any, error) {            v, err, _ := g.Do(id, func() (*User, error) {
//		return load(id)                                        return load(id)
//	})                                                     })
//	if err != nil {                                        if err != nil {
//		return nil, err                                        return nil, err
//	}                                                      }
//	return v.(*User), nil                                  return v, nil
//
// It changes the import, the declaration, the result types of the functions
// and the assertions, in all files of the package. A group without values
// gets struct{}.
//
// A group is left alone, and the report says why, where it is exported or
// passed to other code, where its values have several types or are used
// without an assertion, where a variable for them was declared as any, or where
// it shares a file with a group that is left alone.
//
// Groups that need edits in the same files have one fix, which moves them all.
//
// It is off by default; the flag -on enables it.
package migrate

import (
	"fmt"
	"go/ast"
	"go/types"
	"path/filepath"
	"slices"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
	"golang.org/x/tools/go/ast/edge"
	"golang.org/x/tools/go/ast/inspector"

	"example.com/singleflight/vet/internal/edit"
	"example.com/singleflight/vet/internal/flight"
)

// Analyzer gives groups of x/sync the type of their values.
var Analyzer = &analysis.Analyzer{
	Name:     "migrate",
	Doc:      "give groups of x/sync the type of their values\n\nA group whose values have one type becomes a Group[string, T]. Off by default: set -migrate.on, and -fix.",
	URL:      "https://pkg.go.dev/example.com/singleflight/vet/migrate",
	Run:      run,
	Requires: []*analysis.Analyzer{inspect.Analyzer, flight.Analyzer},
}

var on bool

func init() {
	Analyzer.Flags.BoolVar(&on, "on", false, "report")
}

// A group is a variable or field that holds a group of x/sync.
type group struct {
	v      *types.Var
	types  []ast.Expr // the singleflight.Group that it is declared and made with
	value  types.Type // of its values; nil if it has none
	edits  []analysis.TextEdit
	reason string // why it is left alone, or ""
}

// leave has the group left alone, for the first reason that is found.
func (g *group) leave(format string, args ...any) {
	if g.reason == "" {
		g.reason = fmt.Sprintf(format, args...)
	}
}

type migrator struct {
	*analysis.Pass
	root   inspector.Cursor
	calls  map[*ast.CallExpr]*flight.Call
	groups []*group // in the order of the source
}

func run(pass *analysis.Pass) (any, error) {
	if !on {
		return nil, nil
	}
	m := &migrator{
		Pass:  pass,
		root:  pass.ResultOf[inspect.Analyzer].(*inspector.Inspector).Root(),
		calls: make(map[*ast.CallExpr]*flight.Call),
	}
	for _, call := range flight.Of(pass).Calls {
		m.calls[call.CallExpr] = call
	}
	blocked := m.find()
	if len(m.groups) == 0 || edit.AnalyzedAgain(pass) {
		return nil, nil
	}
	for _, g := range m.groups {
		m.scope(g)
		var calls []*flight.Call
		if g.reason == "" {
			calls = m.uses(g)
		}
		if g.reason == "" {
			m.move(g, calls)
		}
	}
	m.settle(blocked)
	for _, g := range m.groups {
		m.report(g)
	}
	return nil, nil
}

func (m *migrator) report(g *group) {
	d := analysis.Diagnostic{Pos: g.types[0].Pos(), End: g.types[0].End()}
	if g.reason != "" {
		d.Message = fmt.Sprintf("%s is left as it is: %s", g.v.Name(), g.reason)
	} else {
		value := "struct{}"
		if g.value != nil {
			value = m.short(g.value)
		}
		d.Message = fmt.Sprintf("%s can be a Group[string, %s] of %s", g.v.Name(), value, flight.OursPath)
		d.SuggestedFixes = []analysis.SuggestedFix{{Message: "Give the group the type of its values", TextEdits: m.fix(g)}}
	}
	m.Report(d)
}

// fix are the edits that move g, and with it the groups that need an edit of
// the same files: each of them is given the same fix, so that a driver can
// apply one or all. Edits of several fixes that import different packages
// into one file would conflict.
func (m *migrator) fix(g *group) []analysis.TextEdit {
	files := make(map[*ast.File]bool)
	moved := map[*group]bool{g: true}
	add := func(g *group) {
		for _, e := range g.edits {
			files[edit.FileOf(m.Pass, e.Pos)] = true
		}
	}
	add(g)
	for grown := true; grown; {
		grown = false
		for _, other := range m.groups {
			if other.reason == "" && !moved[other] && slices.ContainsFunc(other.edits, func(e analysis.TextEdit) bool {
				return files[edit.FileOf(m.Pass, e.Pos)]
			}) {
				moved[other], grown = true, true
				add(other)
			}
		}
	}
	var edits []analysis.TextEdit
	declares := make(map[*ast.File]bool)
	once := make(map[string]bool)
	for _, other := range m.groups {
		if !moved[other] {
			continue
		}
		for _, t := range other.types {
			declares[edit.FileOf(m.Pass, t.Pos())] = true
		}
		for _, e := range other.edits {
			if id := fmt.Sprint(e.Pos, e.End, string(e.NewText)); !once[id] {
				once[id] = true
				edits = append(edits, e)
			}
		}
	}
	for _, spec := range edit.XSyncImports(m.Pass) {
		if declares[edit.FileOf(m.Pass, spec.Pos())] {
			edits = append(edits, edit.SetPath(spec, flight.OursPath))
		}
	}
	return edits
}

// find collects the groups, and the files in which something else than a
// group needs the import of x/sync.
func (m *migrator) find() (blocked map[*ast.File]string) {
	blocked = make(map[*ast.File]string)
	byVar := make(map[*types.Var]*group)
	for cur := range m.root.Preorder((*ast.Ident)(nil)) {
		id := cur.Node().(*ast.Ident)
		tn, ok := m.TypesInfo.Uses[id].(*types.TypeName)
		if !ok || tn.Pkg() == nil || flight.PathOf(tn.Pkg()) != flight.XSyncPath {
			continue
		}
		file := edit.FileOf(m.Pass, id.Pos())
		sel, qualified := cur.Parent().Node().(*ast.SelectorExpr)
		if tn.Name() != "Group" {
			blocked[file] = "its file uses " + tn.Name()
			continue
		}
		t, at := ast.Expr(id), cur
		if qualified {
			t, at = sel, cur.Parent()
		}
		v := m.holder(at)
		if v == nil || flight.LibraryOf(v.Type()) != flight.XSync { // not an interface that is set to a group
			blocked[file] = "its file has a group that is neither a variable nor a field"
			continue
		}
		g := byVar[v]
		if g == nil {
			g = &group{v: v}
			byVar[v] = g
			m.groups = append(m.groups, g)
		}
		g.types = append(g.types, t)
		if !qualified {
			g.leave("its package is imported with a dot")
		}
	}
	return blocked
}

// holder is the variable or field that is declared with, or set to a new
// value of, the type at cur; or nil.
func (m *migrator) holder(cur inspector.Cursor) *types.Var {
	variable := func(n ast.Node) *types.Var {
		switch n := n.(type) {
		case *ast.Ident:
			v, _ := m.TypesInfo.ObjectOf(n).(*types.Var)
			return origin(v)
		case *ast.SelectorExpr:
			v, _ := m.TypesInfo.ObjectOf(n.Sel).(*types.Var)
			return origin(v)
		}
		return nil
	}
	if cur.ParentEdgeKind() == edge.StarExpr_X {
		cur = cur.Parent()
	}
	switch cur.ParentEdgeKind() {
	case edge.Field_Type:
		f := cur.Parent()
		names := f.Node().(*ast.Field).Names
		if len(names) == 1 && f.Parent().ParentEdgeKind() == edge.StructType_Fields {
			return variable(names[0])
		}
		return nil
	case edge.ValueSpec_Type:
		if names := cur.Parent().Node().(*ast.ValueSpec).Names; len(names) == 1 {
			return variable(names[0])
		}
		return nil
	case edge.CompositeLit_Type:
		cur = cur.Parent()
		if cur.ParentEdgeKind() == edge.UnaryExpr_X {
			cur = cur.Parent()
		}
	case edge.CallExpr_Args: // new(singleflight.Group)
		cur = cur.Parent()
		id, ok := cur.Node().(*ast.CallExpr).Fun.(*ast.Ident)
		if !ok || id.Name != "new" {
			return nil
		}
	}
	switch cur.ParentEdgeKind() {
	case edge.KeyValueExpr_Value:
		return variable(cur.Parent().Node().(*ast.KeyValueExpr).Key)
	case edge.AssignStmt_Rhs:
		if s := cur.Parent().Node().(*ast.AssignStmt); len(s.Lhs) == len(s.Rhs) {
			return variable(s.Lhs[cur.ParentEdgeIndex()])
		}
	case edge.ValueSpec_Values:
		if s := cur.Parent().Node().(*ast.ValueSpec); len(s.Names) == len(s.Values) {
			return variable(s.Names[cur.ParentEdgeIndex()])
		}
	}
	return nil
}

// origin is v, or the field of the generic type that v is a field of an
// instance of.
func origin(v *types.Var) *types.Var {
	if v == nil {
		return nil
	}
	return v.Origin()
}

// scope leaves g alone if others than the files at hand can see it.
func (m *migrator) scope(g *group) {
	local := !g.v.IsField() && g.v.Parent() != m.Pkg.Scope()
	if g.v.Pkg() != m.Pkg {
		g.leave("it is declared in another package")
		return
	}
	if local {
		return
	}
	if g.v.Exported() && m.Pkg.Name() != "main" {
		g.leave("it is exported")
	}
	if name := edit.Unseen(m.Pass, g.v.Name()); name != "" {
		g.leave("%s, which is not in this build, may use it", name)
	}
}

// settle leaves a group alone if it shares a file, and so an import, with
// something that stays with x/sync.
func (m *migrator) settle(blocked map[*ast.File]string) {
	for _, g := range m.groups {
		for _, e := range g.edits {
			if ast.IsGenerated(edit.FileOf(m.Pass, e.Pos)) {
				g.leave("%s, where it is used, is generated", filepath.Base(m.Fset.Position(e.Pos).Filename))
			}
		}
	}
	for changed := true; changed; {
		changed = false
		for _, g := range m.groups {
			for _, t := range g.types {
				file := edit.FileOf(m.Pass, t.Pos())
				if g.reason != "" && blocked[file] == "" {
					blocked[file] = "it shares a file with " + g.v.Name() + ", which is left as it is"
					changed = true
				}
				if g.reason == "" && blocked[file] != "" {
					g.leave("%s", blocked[file])
					changed = true
				}
			}
		}
	}
}
