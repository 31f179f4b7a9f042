// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package missingkey defines an Analyzer that finds data on which the result
// of a flight depends and its key does not.
//
// # Analyzer missingkey
//
// missingkey: find what fn reads and the key does not hold
//
// Callers with the same key share a result, whatever else they asked for:
//
//	func page(id string, limit int) (any, error) {
//		v, err, _ := g.Do(id, func() (any, error) {
//			return load(id, limit) // the first caller's limit
//		})
//		return v, err
//	}
//
// The analyzer reports the first parameter of plain data (booleans, numbers,
// strings, and slices and arrays of them) that fn reads, directly or by way
// of local variables, and on which the key does not depend.
//
// Not reported are durations and times, which say how to load rather than
// what.
//
// It is off by default: what is missing is often the same for all callers, or
// of no consequence for the result. The flag -on enables it. There is no
// fix.
package missingkey

import (
	"go/ast"
	"go/types"

	"golang.org/x/tools/go/analysis"

	"example.com/singleflight/vet/internal/flight"
	"example.com/singleflight/vet/internal/origin"
)

// Analyzer finds what fn reads and the key does not hold.
var Analyzer = &analysis.Analyzer{
	Name:             "missingkey",
	Doc:              "find what fn reads and the key does not hold\n\nCallers with the same key share a result, whatever else they asked for. Off by default: set -missingkey.on.",
	URL:              "https://pkg.go.dev/example.com/singleflight/vet/missingkey",
	Run:              run,
	Requires:         []*analysis.Analyzer{flight.Analyzer},
	RunDespiteErrors: true,
}

var on bool

func init() {
	Analyzer.Flags.BoolVar(&on, "on", false, "report")
}

func run(pass *analysis.Pass) (any, error) {
	if !on {
		return nil, nil
	}
	for _, call := range flight.Of(pass).Calls {
		if call.Lit == nil || call.Outermost() == nil {
			continue
		}
		params, _ := origin.Params(pass.TypesInfo, call.Outermost(), call.Pos())
		s := &sources{pass.TypesInfo, call, params}
		key := make(map[*types.Var]bool)
		s.add(key, call.Key, 0)
		if id, v := s.missing(key); v != nil {
			pass.Report(analysis.Diagnostic{
				Pos:     id.Pos(),
				End:     id.End(),
				Message: "fn depends on " + v.Name() + " and the key does not: callers who differ in it share a result",
			})
		}
	}
	return nil, nil
}

// sources finds the parameters that a value is made from.
type sources struct {
	info   *types.Info
	call   *flight.Call
	params map[*types.Var]bool
}

// add adds the parameters that n is made from to set.
func (s *sources) add(set map[*types.Var]bool, n ast.Node, depth int) {
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			if v, ok := s.info.Uses[id].(*types.Var); ok {
				s.addVar(set, v, depth)
			}
		}
		return true
	})
}

func (s *sources) addVar(set map[*types.Var]bool, v *types.Var, depth int) {
	if v.IsField() || set[v] || depth > 10 {
		return
	}
	if s.params[v] {
		set[v] = true
	}
	assignments := origin.Assignments(s.info, s.call.Outermost(), v)
	for _, a := range assignments {
		if a.Value != nil && a.Stmt.Pos() < s.call.Pos() {
			s.add(set, a.Value, depth+1)
		}
	}
}

// missing is the first variable in fn that is made from plain parameters
// which are not in key, and one of these.
func (s *sources) missing(key map[*types.Var]bool) (first *ast.Ident, param *types.Var) {
	ast.Inspect(s.call.Lit.Body, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if !ok || first != nil {
			return first == nil
		}
		v, ok := s.info.Uses[id].(*types.Var)
		if !ok || !origin.Captured(v, s.call.Lit) || key[v] || !plain(v.Type(), 0) {
			return true
		}
		from := make(map[*types.Var]bool)
		s.addVar(from, v, 0)
		for p := range from {
			if !key[p] && plain(p.Type(), 0) && (param == nil || p.Pos() < param.Pos()) {
				first, param = id, p
			}
		}
		return true
	})
	return first, param
}

// plain reports whether t is data that tells one request from another.
func plain(t types.Type, depth int) bool {
	if named := flight.Named(t); named != nil && named.Obj().Pkg() != nil && named.Obj().Pkg().Path() == "time" {
		return false
	}
	switch t := t.Underlying().(type) {
	case *types.Basic:
		return t.Info()&(types.IsBoolean|types.IsNumeric|types.IsString) != 0
	case *types.Slice:
		return depth < 3 && plain(t.Elem(), depth+1)
	case *types.Array:
		return depth < 3 && plain(t.Elem(), depth+1)
	}
	return false
}
