// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package unreachedassert defines an Analyzer that finds type assertions
// which panic when a flight fails.
//
// # Analyzer unreachedassert
//
// unreachedassert: find assertions on the value of a flight that has failed
//
// A function that returns nil and an error leaves a nil interface as the value
// of its flight, and a type assertion on that panics before anybody has looked
// at the error:
//
//	v, err, _ := g.Do(id, func() (any, error) {
//		u, err := load(id)
//		if err != nil {
//			return nil, err
//		}
//		return u, nil
//	})
//	return v.(*User), err // panics when load fails
//
// The analyzer reports a type assertion with one result, on what Do,
// DoContext or a channel of DoChan gave, to which the code comes without
// having looked at the error or at the value before, if the function of the
// flight can return a plain nil.
//
// There is no fix: what to do about the error is for you to say.
package unreachedassert

import (
	"go/ast"
	"go/types"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/ast/edge"
	"golang.org/x/tools/go/ast/inspector"

	"example.com/singleflight/vet/internal/flight"
)

// Analyzer finds assertions on the value of a flight that has failed.
var Analyzer = &analysis.Analyzer{
	Name:             "unreachedassert",
	Doc:              "find assertions on the value of a flight that has failed\n\nWhere fn returns nil and an error, a type assertion before a look at the error panics.",
	URL:              "https://pkg.go.dev/example.com/singleflight/vet/unreachedassert",
	Run:              run,
	Requires:         []*analysis.Analyzer{flight.Analyzer},
	RunDespiteErrors: true,
}

func run(pass *analysis.Pass) (any, error) {
	calls := flight.Of(pass)
	for _, call := range calls.Calls {
		if call.Outermost() == nil || !returnsNil(pass.TypesInfo, calls, call.Body, 0) {
			continue
		}
		c := &checker{pass, call}
		if call.Method == "DoChan" {
			results, _ := call.Received(pass.TypesInfo)
			for _, r := range results {
				c.checkResult(r)
			}
			continue
		}
		s, ok := call.Cursor.Parent().Node().(*ast.AssignStmt)
		if ok && len(s.Lhs) == 3 {
			if v := c.variable(s.Lhs[0]); v != nil {
				c.checkValue(v, c.variable(s.Lhs[1]))
			}
		}
	}
	return nil, nil
}

type checker struct {
	*analysis.Pass
	call *flight.Call
}

// variable is the variable that e names, or nil.
func (c *checker) variable(e ast.Expr) *types.Var {
	id, ok := e.(*ast.Ident)
	if !ok {
		return nil
	}
	v, _ := c.TypesInfo.ObjectOf(id).(*types.Var)
	return v
}

// checkValue reports the first use of v after the call if it is an
// assertion, and err was not used before.
func (c *checker) checkValue(v, err *types.Var) {
	for cur := range c.after((*ast.Ident)(nil)) {
		switch c.TypesInfo.Uses[cur.Node().(*ast.Ident)] {
		case v:
			c.report(cur, v.Name(), "the error")
			return
		case err:
			if err != nil && cur.ParentEdgeKind() != edge.AssignStmt_Lhs {
				return
			}
		}
	}
}

// checkResult reports the first use of r, a Result, if it is an assertion on
// its value.
func (c *checker) checkResult(r *types.Var) {
	for cur := range c.after((*ast.Ident)(nil)) {
		if c.TypesInfo.Uses[cur.Node().(*ast.Ident)] != r || cur.ParentEdgeKind() == edge.AssignStmt_Lhs {
			continue
		}
		if sel, ok := cur.Parent().Node().(*ast.SelectorExpr); ok && sel.Sel.Name == "Val" {
			c.report(cur.Parent(), r.Name()+".Val", r.Name()+".Err")
		}
		return
	}
}

// after are the nodes after the call, in the functions around it.
func (c *checker) after(types ...ast.Node) func(func(inspector.Cursor) bool) {
	return func(yield func(inspector.Cursor) bool) {
		root, ok := c.call.Cursor.Inspector().Root().FindNode(c.call.Outermost())
		if !ok {
			return
		}
		for cur := range root.Preorder(types...) {
			if cur.Node().Pos() >= c.call.End() && !yield(cur) {
				return
			}
		}
	}
}

// report reports the assertion on the value at cur, if it is one that can
// panic.
func (c *checker) report(cur inspector.Cursor, value, err string) {
	if cur.ParentEdgeKind() != edge.TypeAssertExpr_X {
		return
	}
	assert := cur.Parent()
	if assert.Node().(*ast.TypeAssertExpr).Type == nil {
		return // a type switch
	}
	switch p := assert.Parent().Node().(type) {
	case *ast.AssignStmt:
		if len(p.Lhs) == 2 && len(p.Rhs) == 1 {
			return // with ok
		}
	case *ast.ValueSpec:
		if len(p.Names) == 2 && len(p.Values) == 1 {
			return
		}
	}
	n := assert.Node()
	c.Report(analysis.Diagnostic{
		Pos:     n.Pos(),
		End:     n.End(),
		Message: "this type assertion panics when fn returns nil and an error: look at " + err + " first",
	})
}

// returnsNil reports whether a function with this body can return a plain
// nil for its value, directly or from a function of this package.
func returnsNil(info *types.Info, calls *flight.Calls, body *ast.BlockStmt, depth int) bool {
	if body == nil || depth > 3 {
		return false
	}
	found := false
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ReturnStmt:
			switch len(n.Results) {
			case 2:
				found = found || info.Types[n.Results[0]].IsNil()
			case 1:
				call, ok := ast.Unparen(n.Results[0]).(*ast.CallExpr)
				if !ok {
					break
				}
				tuple, ok := info.TypeOf(call).(*types.Tuple)
				if !ok || tuple.Len() != 2 || !types.IsInterface(tuple.At(0).Type()) {
					break
				}
				if decl := calls.Callee(call); decl != nil {
					found = found || returnsNil(info, calls, decl.Body, depth+1)
				}
			}
		}
		return !found
	})
	return found
}
