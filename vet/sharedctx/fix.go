// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package sharedctx

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"

	"example.com/singleflight/vet/internal/cachelike"
	"example.com/singleflight/vet/internal/edit"
	"example.com/singleflight/vet/internal/flight"
	"example.com/singleflight/vet/internal/origin"
	"example.com/singleflight/vet/internal/outcome"
)

// doContext returns the fix that makes the call a DoContext, or the reason
// why there is none.
func (c *checker) doContext(uses []use) (analysis.SuggestedFix, string) {
	none := analysis.SuggestedFix{}
	if c.call.Method != "Do" {
		return none, "DoContext returns no channel"
	}
	if c.call.Library == flight.Copy {
		return none, "the group is a copy of x/sync's"
	}
	if c.call.Fn != ast.Expr(c.call.Lit) {
		return none, "fn is not a function literal in the call"
	}
	v, reason := c.onlyContext(uses)
	if reason == "" {
		reason = c.keeps(v)
	}
	if reason == "" {
		reason = c.redeclares(v)
	}
	if reason == "" && c.valueKeepsContext() {
		// fn's context is canceled when fn has returned.
		reason = "the value keeps a context, or reads from one"
	}
	if reason == "" && len(outcome.Unchecked(c.TypesInfo, c.call)) > 0 {
		// A caller that leaves gets the zero value, here a nil interface.
		reason = "the value is asserted before the error is checked, which panics when a caller leaves"
	}
	if reason != "" {
		return none, reason
	}

	pkg, edits, ok := edit.Import(c.Pass, c.call.Lit.Pos(), "context", "context")
	if !ok {
		return none, "the name of package context has another meaning here"
	}
	if c.call.Library == flight.XSync {
		if reason := edit.Obstacle(c.Pass); reason != "" {
			return none, reason
		}
		for _, spec := range edit.XSyncImports(c.Pass) {
			edits = append(edits, edit.SetPath(spec, flight.DropinPath))
		}
	}
	sel := ast.Unparen(c.call.Fun).(*ast.SelectorExpr)
	params := c.call.Lit.Type.Params
	return analysis.SuggestedFix{
		Message: "Use DoContext",
		TextEdits: append(edits,
			analysis.TextEdit{Pos: sel.Sel.Pos(), End: sel.Sel.End(), NewText: []byte("DoContext")},
			analysis.TextEdit{Pos: c.call.Key.Pos(), End: c.call.Key.Pos(), NewText: []byte(v.Name() + ", ")},
			analysis.TextEdit{Pos: params.Opening + 1, End: params.Closing, NewText: fmt.Appendf(nil, "%s %s.Context", v.Name(), pkg)},
		),
	}, ""
}

// useParameter returns the fix that has the function of a DoContext or Fill
// use its own parameter, or the reason why there is none.
func (c *checker) useParameter(uses []use) (analysis.SuggestedFix, string) {
	none := analysis.SuggestedFix{}
	v, reason := c.onlyContext(uses)
	if reason != "" {
		return none, reason
	}
	if id, ok := ast.Unparen(c.call.Ctx).(*ast.Ident); !ok || c.TypesInfo.Uses[id] != v {
		return none, "it is not the context that is passed to " + c.call.Method
	}
	fields := c.call.Lit.Type.Params.List
	if len(fields) != 1 || len(fields[0].Names) > 1 {
		return none, "fn does not have exactly one parameter"
	}
	fix := analysis.SuggestedFix{Message: "Use fn's own context"}
	if len(fields[0].Names) == 0 {
		t := fields[0].Type
		fix.TextEdits = []analysis.TextEdit{{Pos: t.Pos(), End: t.Pos(), NewText: []byte(v.Name() + " ")}}
		return fix, c.redeclares(v)
	}
	param := fields[0].Names[0]
	if param.Name == "_" {
		fix.TextEdits = []analysis.TextEdit{{Pos: param.Pos(), End: param.End(), NewText: []byte(v.Name())}}
		return fix, c.redeclares(v)
	}
	for _, u := range uses {
		scope := c.Pkg.Scope().Innermost(u.expr.Pos())
		if scope == nil {
			return none, "fn cannot be read"
		}
		if _, obj := scope.LookupParent(param.Name, u.expr.Pos()); obj != c.TypesInfo.Defs[param] {
			return none, param.Name + " has another meaning there"
		}
		fix.TextEdits = append(fix.TextEdits, analysis.TextEdit{Pos: u.expr.Pos(), End: u.expr.End(), NewText: []byte(param.Name)})
	}
	return fix, ""
}

// onlyContext is the one variable of type context.Context that all uses
// are of, or a reason why they are not.
func (c *checker) onlyContext(uses []use) (*types.Var, string) {
	v := uses[0].v
	for _, u := range uses {
		if _, ok := u.expr.(*ast.Ident); !ok {
			if u.own == field {
				return nil, "the context is in a field"
			}
			return nil, fmt.Sprintf("fn uses %s, which belongs to the caller", u.v.Name())
		}
		if u.v != v {
			return nil, fmt.Sprintf("fn uses two contexts, %s and %s", v.Name(), u.v.Name())
		}
	}
	if !isContext(v.Type()) {
		return nil, fmt.Sprintf("fn uses %s, which belongs to the caller", v.Name())
	}
	return v, ""
}

// keeps is a reason why fn cannot outlive its caller, or run on another
// goroutine, or "". ctx is the context that fn will be given.
func (c *checker) keeps(ctx *types.Var) string {
	lit := c.call.Lit
	released, locked := c.released()
	if locked {
		return "the caller holds a lock"
	}
	reason := ""
	assigned := func(e ast.Expr) {
		v := origin.Root(c.TypesInfo, e)
		if origin.Captured(v, lit) && !c.receivers[v] && reason == "" {
			reason = fmt.Sprintf("fn assigns to %s of its caller", v.Name())
		}
	}
	ast.Inspect(lit.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			v, ok := c.TypesInfo.Uses[n].(*types.Var)
			if !ok || v == ctx || !origin.Captured(v, lit) || reason != "" {
				break
			}
			if ofRequest(v.Type()) {
				reason = fmt.Sprintf("fn uses %s, which belongs to the caller", v.Name())
			} else if released[v] {
				reason = fmt.Sprintf("fn uses %s, which the caller releases in a defer statement", v.Name())
			} else if c.assignedLater(v) {
				reason = fmt.Sprintf("fn uses %s, to which the caller assigns later", v.Name())
			}
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE { // which sets fn's own variables
				for _, lhs := range n.Lhs {
					assigned(lhs)
				}
			}
		case *ast.IncDecStmt:
			assigned(n.X)
		case *ast.RangeStmt:
			if n.Tok == token.ASSIGN {
				for _, e := range []ast.Expr{n.Key, n.Value} {
					if e != nil {
						assigned(e)
					}
				}
			}
		case *ast.CallExpr:
			for i, arg := range n.Args {
				if i == 0 && c.writesFirst(n) {
					assigned(arg)
				} else if v := c.destination(arg); v != nil && origin.Captured(v, lit) && reason == "" {
					reason = fmt.Sprintf("fn hands %s of its caller to a function that may assign to it", v.Name())
				}
			}
		case *ast.UnaryExpr:
			// &x hands x to somebody who may assign to it.
			if n.Op == token.AND {
				assigned(n.X)
			}
		}
		return true
	})
	return reason
}

// writesFirst reports whether call is one of a builtin function that changes
// what its first argument refers to.
func (c *checker) writesFirst(call *ast.CallExpr) bool {
	id, ok := ast.Unparen(call.Fun).(*ast.Ident)
	if !ok {
		return false
	}
	_, builtin := c.TypesInfo.Uses[id].(*types.Builtin)
	return builtin && (id.Name == "copy" || id.Name == "delete" || id.Name == "clear")
}

// destination is the variable arg if it looks like one for results: a pointer
// to a slice, a map or an interface, or an any that is not in the key.
func (c *checker) destination(arg ast.Expr) *types.Var {
	id, ok := ast.Unparen(arg).(*ast.Ident)
	if !ok {
		return nil
	}
	v, ok := c.TypesInfo.Uses[id].(*types.Var)
	if !ok {
		return nil
	}
	switch t := v.Type().Underlying().(type) {
	case *types.Pointer:
		switch t.Elem().Underlying().(type) {
		case *types.Slice, *types.Map, *types.Interface:
			return v
		}
	case *types.Interface:
		if t.Empty() && !cachelike.Depends(c.TypesInfo, c.call.Key, map[*types.Var]bool{v: true}) {
			return v
		}
	}
	return nil
}

// assignedLater reports whether a statement after the call assigns to v.
func (c *checker) assignedLater(v *types.Var) bool {
	for _, a := range origin.Assignments(c.TypesInfo, c.root, v) {
		if a.Stmt.Pos() > c.call.End() {
			return true
		}
	}
	return false
}

// released are the variables that a defer statement around the flight
// releases: v in defer v.Close(), defer pool.Put(v). locked reports whether
// a lock is held at the call, as far as the order of the source tells.
func (c *checker) released() (released map[*types.Var]bool, locked bool) {
	released = make(map[*types.Var]bool)
	unlocks := false // in a defer statement before the call
	ast.Inspect(c.root, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return n.Pos() <= c.call.Pos() && c.call.End() <= n.End()
		case *ast.ExprStmt:
			if call, ok := n.X.(*ast.CallExpr); ok && n.End() <= c.call.Pos() {
				switch funcName(call) {
				case "Lock", "RLock":
					locked = true
				case "Unlock", "RUnlock":
					locked = false
				}
			}
		case *ast.DeferStmt:
			if name := funcName(n.Call); name == "Unlock" || name == "RUnlock" {
				unlocks = unlocks || n.Pos() < c.call.Pos()
			}
			for _, v := range c.deferred(n.Call) {
				released[v] = true
			}
			if lit, ok := n.Call.Fun.(*ast.FuncLit); ok {
				ast.Inspect(lit.Body, func(n ast.Node) bool {
					if call, ok := n.(*ast.CallExpr); ok && isRelease(funcName(call)) {
						for _, v := range c.deferred(call) {
							released[v] = true
						}
					}
					return true
				})
			}
		}
		return true
	})
	return released, locked || unlocks
}

// isRelease reports whether name is that of a function that releases
// something. In a defer statement itself, each function may do so.
func isRelease(name string) bool {
	switch name {
	case "Close", "Free", "Put", "Release", "Reset", "Rollback":
		return true
	}
	return false
}

// deferred are the variables that call, in a defer statement, releases.
func (c *checker) deferred(call *ast.CallExpr) []*types.Var {
	var list []*types.Var
	variable := func(e ast.Expr) *types.Var {
		if id, ok := ast.Unparen(e).(*ast.Ident); ok {
			v, _ := c.TypesInfo.Uses[id].(*types.Var)
			return v
		}
		return nil
	}
	if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
		if v := variable(sel.X); v != nil && !c.receivers[v] {
			list = append(list, v)
		}
	}
	for _, arg := range call.Args {
		if v := variable(arg); v != nil {
			if _, basic := v.Type().Underlying().(*types.Basic); !basic {
				list = append(list, v)
			}
		}
	}
	return list
}

// valueKeepsContext reports whether the flight has a value that may use
// fn's context after fn has returned.
func (c *checker) valueKeepsContext() bool {
	for _, r := range flight.Returns(c.call.Lit.Body) {
		if t := flight.Returned(c.TypesInfo, r); t != nil && (keepsContext(t, 0) || ofRequest(t)) {
			return true
		}
	}
	return false
}

// ofRequest reports whether a value of type t usually lives no longer than
// the request that it belongs to.
func ofRequest(t types.Type) bool {
	if !isContext(t) && hasContext(t) {
		return true
	}
	named := flight.Named(t)
	if named == nil || named.Obj().Pkg() == nil {
		return false
	}
	switch name := named.Obj().Name(); name {
	case "Request", "RequestHeader", "RequestEvent", "RequestContext", "RequestCtx", "Ctx",
		"ResponseWriter", "Tx", "Txn", "Transaction", "Rows":
		return true
	case "Context":
		return named.Obj().Pkg().Path() != "context"
	case "Buffer":
		return named.Obj().Pkg().Path() == "bytes"
	default:
		return strings.HasSuffix(name, "ResponseWriter")
	}
}

// redeclares is a reason why fn cannot have a parameter of v's name, or "":
// the outermost block of its body, which a parameter would share, declares
// that name.
func (c *checker) redeclares(v *types.Var) string {
	scope := c.TypesInfo.Scopes[c.call.Lit.Type]
	if scope == nil {
		return "fn cannot be read"
	}
	own := scope.Lookup(v.Name())
	if own == nil {
		return ""
	}
	for _, stmt := range c.call.Lit.Body.List {
		s, ok := stmt.(*ast.AssignStmt)
		if !ok || s.Tok != token.DEFINE || !isContext(own.Type()) {
			continue
		}
		var here, others bool
		for _, lhs := range s.Lhs {
			id, ok := lhs.(*ast.Ident)
			if !ok || id.Name == "_" || c.TypesInfo.Defs[id] == nil {
				continue
			}
			if c.TypesInfo.Defs[id] == own {
				here = true
			} else {
				others = true
			}
		}
		if here && others {
			// ctx, span := start(ctx) becomes an assignment to the parameter.
			return ""
		}
	}
	return fmt.Sprintf("fn declares a %s of its own", v.Name())
}
