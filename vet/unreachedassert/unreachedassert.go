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
// The analyzer reports a type assertion without the second result, ok, on
// what Do, DoContext or a channel of DoChan returned, if nothing before it looks
// at the error or at the value, and the function of the flight can return a
// plain nil.
//
// There is no fix: you must decide what to do about the error.
package unreachedassert

import (
	"go/ast"
	"go/types"

	"golang.org/x/tools/go/analysis"

	"example.com/singleflight/vet/internal/flight"
	"example.com/singleflight/vet/internal/outcome"
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
		if !returnsNil(pass.TypesInfo, calls, call.Body, 0) {
			continue
		}
		for _, a := range outcome.Unchecked(pass.TypesInfo, call) {
			pass.Report(analysis.Diagnostic{
				Pos:     a.Expr.Pos(),
				End:     a.Expr.End(),
				Message: "this type assertion panics when fn returns nil and an error: look at " + a.Error + " first",
			})
		}
	}
	return nil, nil
}

// returnsNil reports whether a function with this body can return a plain
// nil for its value, directly or from a function of this package.
func returnsNil(info *types.Info, calls *flight.Calls, body *ast.BlockStmt, depth int) bool {
	if body == nil || depth > 3 {
		return false
	}
	for _, r := range flight.Returns(body) {
		if len(r.Results) == 2 && info.Types[r.Results[0]].IsNil() {
			return true
		}
		if t := flight.Returned(info, r); len(r.Results) != 1 || t == nil || !types.IsInterface(t) {
			continue // a nil of type t is not a nil interface
		}
		if call, ok := ast.Unparen(r.Results[0]).(*ast.CallExpr); ok {
			if decl := calls.Callee(call); decl != nil && returnsNil(info, calls, decl.Body, depth+1) {
				return true
			}
		}
	}
	return false
}
