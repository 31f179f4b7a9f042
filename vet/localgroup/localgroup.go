// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package localgroup defines an Analyzer that finds groups which share
// nothing.
//
// # Analyzer localgroup
//
// localgroup: find groups that are declared in the function that uses them
//
// A Group that each call of a function declares anew is seen by that call
// alone, and no other can join its flights:
//
//	func user(id string) (any, error) {
//		var g singleflight.Group // one for each call
//		v, err, _ := g.Do(id, load)
//		return v, err
//	}
//
// Not reported is a group that a function literal, a go statement or another
// function uses as well, one on which the function calls DoChan several times,
// or in a loop, and one in a test file, where it is tried out.
//
// There is no fix: the group belongs in a field, or in a variable of the
// package.
package localgroup

import (
	"go/ast"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/ast/edge"

	"example.com/singleflight/vet/internal/flight"
	"example.com/singleflight/vet/internal/origin"
)

// Analyzer finds groups that are declared in the function that uses them.
var Analyzer = &analysis.Analyzer{
	Name:             "localgroup",
	Doc:              "find groups that are declared in the function that uses them\n\nNo other call can join the flights of such a group, so that it shares nothing.",
	URL:              "https://pkg.go.dev/example.com/singleflight/vet/localgroup",
	Run:              run,
	Requires:         []*analysis.Analyzer{flight.Analyzer},
	RunDespiteErrors: true,
}

func run(pass *analysis.Pass) (any, error) {
	seen := make(map[*types.Var]bool)
	for _, call := range flight.Of(pass).Calls {
		id, ok := ast.Unparen(call.Group).(*ast.Ident)
		if !ok || call.Innermost() == nil || strings.HasSuffix(pass.Fset.Position(id.Pos()).Filename, "_test.go") {
			continue
		}
		v, ok := pass.TypesInfo.Uses[id].(*types.Var)
		if !ok || seen[v] {
			continue
		}
		seen[v] = true
		if madeIn(pass.TypesInfo, call.Innermost(), v) && !shared(pass.TypesInfo, call, v) {
			pass.Report(analysis.Diagnostic{
				Pos:     id.Pos(),
				End:     id.End(),
				Message: v.Name() + " is declared in the function that uses it, so that no other call can join its flights",
			})
		}
	}
	return nil, nil
}

// madeIn reports whether v is a local variable of fn, and a new group.
func madeIn(info *types.Info, fn ast.Node, v *types.Var) bool {
	if v.Pos() < fn.Pos() || fn.End() <= v.Pos() {
		return false
	}
	assignments := origin.Assignments(info, fn, v)
	if len(assignments) != 1 {
		return false // a parameter, or one of several groups
	}
	switch value := assignments[0].Value.(type) {
	case nil:
		_, ranges := assignments[0].Stmt.(*ast.RangeStmt)
		_, pointer := types.Unalias(v.Type()).(*types.Pointer)
		return !ranges && !pointer
	case *ast.CompositeLit:
		return true
	case *ast.UnaryExpr:
		_, lit := ast.Unparen(value.X).(*ast.CompositeLit)
		return lit
	case *ast.CallExpr:
		id, ok := value.Fun.(*ast.Ident)
		if !ok {
			return false
		}
		_, builtin := info.Uses[id].(*types.Builtin) // new
		return builtin
	}
	return false
}

// shared reports whether a flight of v may have two callers after all.
func shared(info *types.Info, call *flight.Call, v *types.Var) bool {
	chans, shared := 0, false
	fn, ok := call.Cursor.Inspector().Root().FindNode(call.Innermost())
	if !ok {
		return true
	}
	for cur := range fn.Preorder((*ast.Ident)(nil)) {
		if info.Uses[cur.Node().(*ast.Ident)] != v {
			continue
		}
		for around := range cur.Enclosing((*ast.FuncDecl)(nil), (*ast.FuncLit)(nil)) {
			shared = shared || around != fn
			break
		}
		sel := cur.Parent()
		if cur.ParentEdgeKind() != edge.SelectorExpr_X || sel.ParentEdgeKind() != edge.CallExpr_Fun {
			shared = true // it is passed on
			continue
		}
		switch sel.Parent().ParentEdgeKind() {
		case edge.GoStmt_Call, edge.DeferStmt_Call:
			shared = true
		}
		if sel.Node().(*ast.SelectorExpr).Sel.Name == "DoChan" {
			chans++
			for range cur.Enclosing((*ast.ForStmt)(nil), (*ast.RangeStmt)(nil)) {
				chans++
			}
		}
	}
	return shared || chans > 1
}
