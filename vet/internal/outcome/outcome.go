// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package outcome says what code does first with the outcome of a flight.
package outcome

import (
	"go/ast"
	"go/types"

	"golang.org/x/tools/go/ast/edge"
	"golang.org/x/tools/go/ast/inspector"

	"example.com/singleflight/vet/internal/flight"
)

// An Assertion is a type assertion that panics if the value is nil.
type Assertion struct {
	Expr  *ast.TypeAssertExpr
	Error string // what tells that the value is nil: "the error", or a field
}

// Unchecked are the type assertions on the value of call that are the first
// use of it, and that come before the first look at the error.
func Unchecked(info *types.Info, call *flight.Call) []Assertion {
	var list []Assertion
	add := func(cur inspector.Cursor, err string) {
		if a := asserted(cur); a != nil {
			list = append(list, Assertion{a, err})
		}
	}
	if call.Outermost() == nil {
		return nil
	}
	if call.Method == "DoChan" {
		results, _ := call.Received(info)
		for _, r := range results {
			if cur, ok := firstOfResult(info, call, r); ok {
				add(cur, r.Name()+".Err")
			}
		}
		return list
	}
	var value, err *types.Var
	switch p := call.Cursor.Parent().Node().(type) {
	case *ast.AssignStmt:
		if len(p.Lhs) == 3 {
			value, err = variable(info, p.Lhs[0]), variable(info, p.Lhs[1])
		}
	case *ast.ValueSpec:
		if len(p.Names) == 3 {
			value, err = variable(info, p.Names[0]), variable(info, p.Names[1])
		}
	}
	if value == nil {
		return nil
	}
	if cur, ok := firstOfValue(info, call, value, err); ok {
		add(cur, "the error")
	}
	return list
}

// firstOfValue is the first use of v, if err is not used before.
func firstOfValue(info *types.Info, call *flight.Call, v, err *types.Var) (inspector.Cursor, bool) {
	for cur := range after(call) {
		switch info.Uses[cur.Node().(*ast.Ident)] {
		case v:
			return cur, true
		case err:
			if cur.ParentEdgeKind() != edge.AssignStmt_Lhs {
				return cur, false
			}
		}
	}
	return inspector.Cursor{}, false
}

// firstOfResult is the first use of r, a Result, if it is one of its value.
func firstOfResult(info *types.Info, call *flight.Call, r *types.Var) (inspector.Cursor, bool) {
	for cur := range after(call) {
		if info.Uses[cur.Node().(*ast.Ident)] == r {
			sel, ok := cur.Parent().Node().(*ast.SelectorExpr)
			return cur.Parent(), ok && sel.Sel.Name == "Val"
		}
	}
	return inspector.Cursor{}, false
}

// after are the identifiers after call, in the functions around it.
func after(call *flight.Call) func(func(inspector.Cursor) bool) {
	return func(yield func(inspector.Cursor) bool) {
		root, ok := call.Cursor.Inspector().Root().FindNode(call.Outermost())
		if !ok {
			return
		}
		for cur := range root.Preorder((*ast.Ident)(nil)) {
			if cur.Node().Pos() >= call.End() && !yield(cur) {
				return
			}
		}
	}
}

// asserted is the assertion on the value at cur, if it is one that can panic.
func asserted(cur inspector.Cursor) *ast.TypeAssertExpr {
	if cur.ParentEdgeKind() != edge.TypeAssertExpr_X {
		return nil
	}
	assert := cur.Parent().Node().(*ast.TypeAssertExpr)
	if assert.Type == nil {
		return nil // a type switch
	}
	switch p := cur.Parent().Parent().Node().(type) {
	case *ast.AssignStmt:
		if len(p.Lhs) == 2 && len(p.Rhs) == 1 {
			return nil // with ok
		}
	case *ast.ValueSpec:
		if len(p.Names) == 2 && len(p.Values) == 1 {
			return nil
		}
	}
	return assert
}

// variable is the variable that e names, or nil.
func variable(info *types.Info, e ast.Expr) *types.Var {
	id, ok := e.(*ast.Ident)
	if !ok {
		return nil
	}
	v, _ := info.ObjectOf(id).(*types.Var)
	return v
}
