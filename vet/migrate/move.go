// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package migrate

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/ast/edge"
	"golang.org/x/tools/go/ast/inspector"

	"example.com/singleflight/vet/internal/edit"
	"example.com/singleflight/vet/internal/flight"
)

// uses are the calls of g's Do and DoChan. It leaves g alone if something else than
// its methods is used.
func (m *migrator) uses(g *group) []*flight.Call {
	var calls []*flight.Call
	for cur := range m.root.Preorder((*ast.Ident)(nil)) {
		v, ok := m.TypesInfo.Uses[cur.Node().(*ast.Ident)].(*types.Var)
		if !ok || v.Origin() != g.v {
			continue
		}
		if m.isMade(cur) {
			continue
		}
		if cur.ParentEdgeKind() == edge.SelectorExpr_Sel {
			cur = cur.Parent() // s.g
		}
		if cur.ParentEdgeKind() != edge.SelectorExpr_X || cur.Parent().ParentEdgeKind() != edge.CallExpr_Fun {
			g.leave("it is passed on in line %d", m.line(cur.Node()))
			return nil
		}
		call := m.calls[cur.Parent().Parent().Node().(*ast.CallExpr)]
		if call != nil { // not Forget
			calls = append(calls, call)
		}
	}
	return calls
}

// isMade reports whether the variable at cur is set to a new group there,
// in an assignment or a composite literal.
func (m *migrator) isMade(cur inspector.Cursor) bool {
	if cur.ParentEdgeKind() == edge.KeyValueExpr_Key {
		return m.isNew(cur.Parent().Node().(*ast.KeyValueExpr).Value)
	}
	if cur.ParentEdgeKind() == edge.SelectorExpr_Sel {
		cur = cur.Parent()
	}
	if cur.ParentEdgeKind() == edge.AssignStmt_Lhs {
		s := cur.Parent().Node().(*ast.AssignStmt)
		return len(s.Lhs) == len(s.Rhs) && m.isNew(s.Rhs[cur.ParentEdgeIndex()])
	}
	return false
}

func (m *migrator) isNew(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CompositeLit:
		return true
	case *ast.UnaryExpr:
		_, ok := e.X.(*ast.CompositeLit)
		return ok && e.Op == token.AND
	case *ast.CallExpr:
		id, ok := e.Fun.(*ast.Ident)
		return ok && id.Name == "new"
	}
	return false
}

// move finds the one type of g's values, and makes the edits; or leaves g
// alone.
func (m *migrator) move(g *group, calls []*flight.Call) {
	returns := make([][]*ast.ReturnStmt, len(calls))
	for i, call := range calls {
		if call.Lit == nil || call.Fn != ast.Expr(call.Lit) {
			g.leave("fn is not a function literal in line %d", m.line(call.CallExpr))
			return
		}
		returns[i] = flight.Returns(call.Lit.Body)
		for _, r := range returns[i] {
			m.returned(g, r)
		}
	}
	for i, call := range calls {
		m.moveCall(g, call, returns[i])
	}
	for _, t := range g.types {
		text, edits := m.typeText(g, t.Pos())
		g.edits = append(g.edits, edits...)
		g.edits = append(g.edits, insert(t.End(), "[string, "+text+"]"))
	}
}

// returned takes the type of what r returns for that of g's values.
func (m *migrator) returned(g *group, r *ast.ReturnStmt) {
	if len(r.Results) == 2 && m.TypesInfo.Types[r.Results[0]].IsNil() {
		return
	}
	t := flight.Returned(m.TypesInfo, r)
	switch {
	case t == nil:
		g.leave("the return in line %d has no values", m.line(r))
	case isAny(t):
		g.leave("line %d returns an any", m.line(r))
	case g.value == nil:
		g.value = t
	case !types.Identical(g.value, t):
		g.leave("it holds values of two types, %s and %s", m.short(g.value), m.short(t))
	}
}

// moveCall makes the edits in and after one call.
func (m *migrator) moveCall(g *group, call *flight.Call, returns []*ast.ReturnStmt) {
	results := call.Lit.Type.Results
	if results == nil || len(results.List) != 2 || len(results.List[0].Names) > 0 {
		g.leave("fn in line %d names its results", m.line(call.Lit))
		return
	}
	result := results.List[0].Type
	text, edits := m.typeText(g, result.Pos())
	g.edits = append(g.edits, edits...)
	g.edits = append(g.edits, analysis.TextEdit{Pos: result.Pos(), End: result.End(), NewText: []byte(text)})

	nils := false
	for _, r := range returns {
		if len(r.Results) != 2 || !m.TypesInfo.Types[r.Results[0]].IsNil() {
			continue
		}
		nils = true
		if g.value != nil && nilable(g.value) {
			continue
		}
		text, edits := m.typeText(g, r.Pos())
		g.edits = append(g.edits, edits...)
		e := r.Results[0]
		g.edits = append(g.edits, analysis.TextEdit{Pos: e.Pos(), End: e.End(), NewText: []byte(zero(g.value, text))})
	}

	if call.Method == "DoChan" {
		m.moveResults(g, call, nils)
		return
	}
	var value *ast.Ident
	switch p := call.Cursor.Parent().Node().(type) {
	case *ast.ExprStmt, *ast.GoStmt, *ast.DeferStmt:
		return
	case *ast.AssignStmt:
		if len(p.Lhs) == 3 {
			value, _ = p.Lhs[0].(*ast.Ident)
		}
	case *ast.ValueSpec:
		if len(p.Names) == 3 && p.Type == nil {
			value = p.Names[0]
		}
	}
	if value == nil {
		g.leave("what Do returns in line %d is used as an any", m.line(call.CallExpr))
		return
	}
	if value.Name == "_" {
		return
	}
	v, ok := m.TypesInfo.Defs[value].(*types.Var)
	if !ok {
		g.leave("%s in line %d was declared before, as an any", value.Name, m.line(value))
		return
	}
	m.moveValue(g, v, nils)
}

// moveValue takes away the assertions on v.
func (m *migrator) moveValue(g *group, v *types.Var, nils bool) {
	for cur := range m.root.Preorder((*ast.Ident)(nil)) {
		if m.TypesInfo.Uses[cur.Node().(*ast.Ident)] != v {
			continue
		}
		m.moveAssertion(g, cur, nils)
	}
}

// moveResults takes away the assertions on what the channel of call gives.
func (m *migrator) moveResults(g *group, call *flight.Call, nils bool) {
	results, complete := call.Received(m.TypesInfo)
	if !complete {
		g.leave("the channel in line %d, or what it gives, is passed on", m.line(call.CallExpr))
		return
	}
	for cur := range m.root.Preorder((*ast.Ident)(nil)) {
		v, ok := m.TypesInfo.Uses[cur.Node().(*ast.Ident)].(*types.Var)
		if !ok || !slices.Contains(results, v) {
			continue
		}
		sel, ok := cur.Parent().Node().(*ast.SelectorExpr)
		if !ok {
			g.leave("%s in line %d is passed on", v.Name(), m.line(cur.Node()))
			return
		}
		if sel.Sel.Name == "Val" {
			m.moveAssertion(g, cur.Parent(), nils)
		}
	}
}

// moveAssertion takes away the assertion on the value at cur. nils says
// that the value was a nil interface where fn failed.
func (m *migrator) moveAssertion(g *group, cur inspector.Cursor, nils bool) {
	assert, ok := cur.Parent().Node().(*ast.TypeAssertExpr)
	if !ok || assert.Type == nil || g.value == nil {
		g.leave("%s in line %d is used as an any", types.ExprString(cur.Node().(ast.Expr)), m.line(cur.Node()))
		return
	}
	if !types.Identical(m.TypesInfo.TypeOf(assert.Type), g.value) {
		g.leave("line %d asserts another type", m.line(assert))
		return
	}
	rest := ""
	if _, ok := m.TypesInfo.TypeOf(assert).(*types.Tuple); ok { // x, ok := v.(T)
		if nils || types.IsInterface(g.value) {
			g.leave("line %d asks whether the value is nil", m.line(assert))
			return
		}
		rest = ", true"
	}
	g.edits = append(g.edits, analysis.TextEdit{Pos: cur.Node().End(), End: assert.End(), NewText: []byte(rest)})
}

// typeText is the type of g's values as code at pos can write it, with the
// imports that this needs; or it leaves g alone.
func (m *migrator) typeText(g *group, pos token.Pos) (string, []analysis.TextEdit) {
	if g.value == nil {
		return "struct{}", nil
	}
	var edits []analysis.TextEdit
	qualifier := func(pkg *types.Package) string {
		if pkg == m.Pkg {
			return ""
		}
		name, more, ok := edit.Import(m.Pass, pos, flight.PathOf(pkg), pkg.Name())
		if !ok {
			g.leave("the name of package %s has another meaning in line %d", pkg.Name(), m.Fset.Position(pos).Line)
		}
		edits = append(edits, more...)
		return name
	}
	m.named(g, g.value, pos, 0)
	return types.TypeString(g.value, qualifier), edits
}

// named leaves g alone if code at pos cannot name t.
func (m *migrator) named(g *group, t types.Type, pos token.Pos, depth int) {
	if depth > 10 {
		g.leave("the type of its values is too deep")
		return
	}
	name := func(obj *types.TypeName) {
		if obj.Pkg() == nil {
			return // predeclared
		}
		scope := m.Pkg.Scope().Innermost(pos)
		switch {
		case obj.Pkg() != m.Pkg && !obj.Exported():
			g.leave("the type %s is not exported", obj.Name())
		case obj.Pkg() != m.Pkg && !importable(flight.PathOf(obj.Pkg()), flight.PathOf(m.Pkg)):
			g.leave("the type %s is of an internal package", obj.Name())
		case obj.Pkg() == m.Pkg && scope != nil:
			if _, found := scope.LookupParent(obj.Name(), pos); found != obj {
				g.leave("the type %s is not visible in line %d", obj.Name(), m.Fset.Position(pos).Line)
			}
		}
	}
	switch t := t.(type) {
	case *types.Alias:
		name(t.Obj())
	case *types.Named:
		name(t.Obj())
		for arg := range t.TypeArgs().Types() {
			m.named(g, arg, pos, depth+1)
		}
	case *types.TypeParam:
		g.leave("its values have the type parameter %s", t.Obj().Name())
	case *types.Pointer:
		m.named(g, t.Elem(), pos, depth+1)
	case *types.Slice:
		m.named(g, t.Elem(), pos, depth+1)
	case *types.Array:
		m.named(g, t.Elem(), pos, depth+1)
	case *types.Chan:
		m.named(g, t.Elem(), pos, depth+1)
	case *types.Map:
		m.named(g, t.Key(), pos, depth+1)
		m.named(g, t.Elem(), pos, depth+1)
	case *types.Basic:
		if t.Kind() == types.Invalid {
			g.leave("the type of its values is not known")
		}
	default:
		g.leave("the type of its values has no name")
	}
}

// importable reports whether package from may import package path, as the
// rule for internal packages has it.
func importable(path, from string) bool {
	parent, _, internal := strings.Cut("/"+path+"/", "/internal/")
	return !internal || strings.HasPrefix("/"+from+"/", parent+"/")
}

func isAny(t types.Type) bool {
	if _, ok := types.Unalias(t).(*types.TypeParam); ok {
		return false
	}
	i, ok := t.Underlying().(*types.Interface)
	return ok && i.Empty()
}

// nilable reports whether nil is a value of type t.
func nilable(t types.Type) bool {
	switch t := t.Underlying().(type) {
	case *types.Pointer, *types.Slice, *types.Map, *types.Chan, *types.Signature, *types.Interface:
		return true
	case *types.Basic:
		return t.Kind() == types.UnsafePointer
	}
	return false
}

// zero is the zero value of type t, which the code calls text.
func zero(t types.Type, text string) string {
	if t != nil {
		if b, ok := t.Underlying().(*types.Basic); ok {
			switch {
			case b.Info()&types.IsString != 0:
				return `""`
			case b.Info()&types.IsBoolean != 0:
				return "false"
			default:
				return "0"
			}
		}
	}
	return text + "{}"
}

func insert(pos token.Pos, text string) analysis.TextEdit {
	return analysis.TextEdit{Pos: pos, End: pos, NewText: []byte(text)}
}

// short is t as people write it.
func (m *migrator) short(t types.Type) string {
	return types.TypeString(t, func(pkg *types.Package) string {
		if pkg == m.Pkg {
			return ""
		}
		return pkg.Name()
	})
}

func (m *migrator) line(n ast.Node) int { return m.Fset.Position(n.Pos()).Line }
