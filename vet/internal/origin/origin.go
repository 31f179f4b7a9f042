// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package origin says where the value of a local variable comes from.
package origin

import (
	"go/ast"
	"go/token"
	"go/types"
)

// An Assignment gives a variable a value.
type Assignment struct {
	Stmt ast.Node // *ast.AssignStmt, *ast.ValueSpec or *ast.RangeStmt

	// Value is what is assigned: a call if the assignment takes one of its
	// several results, and nil if a range statement assigns.
	Value ast.Expr
	Index int // which of the call's results

	// Block is the innermost block around the assignment. Whatever stands
	// after the assignment, in its block, sees no earlier one.
	Block ast.Node
}

// Assignments are those of v in root, in the order of the source.
func Assignments(info *types.Info, root ast.Node, v *types.Var) []Assignment {
	var list []Assignment
	ast.PreorderStack(root, nil, func(n ast.Node, stack []ast.Node) bool {
		add := func(value ast.Expr, index int) {
			list = append(list, Assignment{n, value, index, innermostBlock(stack)})
		}
		pick := func(i, names int, values []ast.Expr) {
			switch {
			case len(values) == names:
				add(values[i], 0)
			case len(values) == 1:
				add(values[0], i)
			case len(values) == 0:
				add(nil, 0)
			}
		}
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, lhs := range n.Lhs {
				if id, ok := lhs.(*ast.Ident); ok && info.ObjectOf(id) == v {
					pick(i, len(n.Lhs), n.Rhs)
				}
			}
		case *ast.ValueSpec:
			for i, id := range n.Names {
				if info.Defs[id] == v {
					pick(i, len(n.Names), n.Values)
				}
			}
		case *ast.RangeStmt:
			for _, e := range []ast.Expr{n.Key, n.Value} {
				if id, ok := e.(*ast.Ident); ok && info.ObjectOf(id) == v {
					add(nil, 0)
				}
			}
		}
		return true
	})
	return list
}

// innermostBlock is the last node of stack that opens a block.
func innermostBlock(stack []ast.Node) ast.Node {
	for i := len(stack) - 1; i >= 0; i-- {
		switch stack[i].(type) {
		case *ast.BlockStmt, *ast.CaseClause, *ast.CommClause:
			return stack[i]
		}
	}
	return nil
}

// Reaching are those of v's assignments in root that may have given v the
// value that it has at pos: the last one that is always made on the way to
// pos, and the conditional ones after it. The second result reports whether
// v may still have the value with which root began, as a parameter does that
// was not assigned since.
//
// Loops and goto are not followed backward.
func Reaching(info *types.Info, root ast.Node, v *types.Var, pos token.Pos) ([]Assignment, bool) {
	all := Assignments(info, root, v)
	var reach []Assignment
	for i := len(all) - 1; i >= 0; i-- {
		a := all[i]
		if a.Stmt.End() > pos && !within(a.Stmt, pos) || a.Stmt.Pos() >= pos {
			continue // later
		}
		if within(a.Stmt, pos) && !loopBody(a.Stmt, pos) {
			continue // pos is in the value that is assigned
		}
		reach = append(reach, a)
		if a.Block == nil || within(a.Block, pos) {
			return reach, false
		}
	}
	return reach, true
}

func within(n ast.Node, pos token.Pos) bool { return n.Pos() <= pos && pos < n.End() }

// loopBody reports whether stmt is a range statement with pos in its body.
func loopBody(stmt ast.Node, pos token.Pos) bool {
	r, ok := stmt.(*ast.RangeStmt)
	return ok && within(r.Body, pos)
}

// Params are the parameters of the functions around pos in root, the
// receivers apart.
func Params(info *types.Info, root ast.Node, pos token.Pos) (params, receivers map[*types.Var]bool) {
	params, receivers = make(map[*types.Var]bool), make(map[*types.Var]bool)
	add := func(set map[*types.Var]bool, fields *ast.FieldList) {
		if fields == nil {
			return
		}
		for _, f := range fields.List {
			for _, id := range f.Names {
				if v, ok := info.Defs[id].(*types.Var); ok {
					set[v] = true
				}
			}
		}
	}
	ast.Inspect(root, func(n ast.Node) bool {
		if n == nil || !within(n, pos) {
			return false
		}
		switch n := n.(type) {
		case *ast.FuncDecl:
			add(params, n.Type.Params)
			add(receivers, n.Recv)
		case *ast.FuncLit:
			add(params, n.Type.Params)
		}
		return true
	})
	return params, receivers
}

// Root is the variable at the beginning of a chain of selectors, calls,
// indexes and dereferences, as r in r.Header.Get("X"); or nil.
func Root(info *types.Info, e ast.Expr) *types.Var {
	for {
		switch x := ast.Unparen(e).(type) {
		case *ast.Ident:
			v, _ := info.ObjectOf(x).(*types.Var)
			return v
		case *ast.SelectorExpr:
			if id, ok := x.X.(*ast.Ident); ok {
				if _, ok := info.Uses[id].(*types.PkgName); ok {
					return nil
				}
			}
			e = x.X
		case *ast.CallExpr:
			sel, ok := ast.Unparen(x.Fun).(*ast.SelectorExpr)
			if !ok {
				return nil
			}
			e = sel
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.TypeAssertExpr:
			e = x.X
		case *ast.UnaryExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// Captured reports whether v is a local variable of a function around lit,
// but not of lit itself.
func Captured(v *types.Var, lit ast.Node) bool {
	if v == nil || v.IsField() || v.Pkg() == nil || v.Parent() == v.Pkg().Scope() {
		return false
	}
	return v.Pos().IsValid() && !within(lit, v.Pos())
}
