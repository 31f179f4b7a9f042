// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package lookagain defines an Analyzer that finds caches whose use around a
// flight lets a value be loaded more often than needed.
//
// # Analyzer lookagain
//
// lookagain: find caches that are not looked into again inside a flight
//
// The key of a flight is free before its callers have the result. A caller
// that found nothing in the cache just before can therefore come to Do just
// after the flight that filled it, and starts another one:
//
//	if u, ok := cache.Get(id); ok {
//		return u, nil
//	}
//	v, err, _ := g.Do(id, func() (any, error) {
//		u, err := load(id) // the cache may have it by now
//		if err == nil {
//			cache.Set(id, u)
//		}
//		return u, err
//	})
//
// The analyzer reports a flight whose caller looks into a cache before it and
// whose function stores into that cache but does not look into it again. It
// also reports a cache that is stored into after Do, with what Do returned:
// between the end of the flight and the store, others load again, and a store
// for each caller can bring back what was deleted in the meantime.
//
// A cache is recognized by the names of its methods (Get and Set, Load and
// Store, and the like) or is a map. Functions of the same package are
// followed to a depth of two calls. A look that a caller of the function
// makes is not seen.
//
// There is no fix. The remedy is to look again inside the function, and to
// store there; Fill of example.com/singleflight does both.
package lookagain

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"

	"golang.org/x/tools/go/analysis"

	"example.com/singleflight/vet/internal/cachelike"
	"example.com/singleflight/vet/internal/flight"
)

// Analyzer finds caches that are not looked into again inside a flight.
var Analyzer = &analysis.Analyzer{
	Name:             "lookagain",
	Doc:              "find caches that are not looked into again inside a flight\n\nA caller that missed the cache just before a flight ended loads again, unless fn looks again. What Do returned is not stored after it.",
	URL:              "https://pkg.go.dev/example.com/singleflight/vet/lookagain",
	Run:              run,
	Requires:         []*analysis.Analyzer{flight.Analyzer},
	RunDespiteErrors: true,
}

func run(pass *analysis.Pass) (any, error) {
	calls := flight.Of(pass)
	finder := &cachelike.Finder{Info: pass.TypesInfo, Calls: calls}
	for _, call := range calls.Calls {
		if call.Method == "Fill" || call.Body == nil || call.Outermost() == nil {
			continue
		}
		if message := check(pass.TypesInfo, finder, call); message != "" {
			pass.Report(analysis.Diagnostic{Pos: call.Pos(), End: call.Fun.End(), Message: message})
		}
	}
	return nil, nil
}

func check(info *types.Info, finder *cachelike.Finder, call *flight.Call) string {
	around := finder.Ops(call.Outermost(), call.Fn)
	inside := finder.Ops(call.Body, nil)
	results := results(info, call)
	for _, look := range around {
		if look.Kind != cachelike.Look || look.Pos >= call.Pos() || elsewhere(call, look.Pos) {
			continue
		}
		for _, store := range around {
			if same(store, look, cachelike.Store) && store.Pos >= call.End() && !elsewhere(call, store.Pos) && mentions(info, store, results) {
				return fmt.Sprintf("what %s returned is stored in %s after it: callers in between load again; store inside fn, and look there first, or use Fill", call.Method, store.Name)
			}
		}
		var stores, looks bool
		for _, op := range inside {
			stores = stores || same(op, look, cachelike.Store)
			looks = looks || same(op, look, cachelike.Look)
		}
		if stores && !looks {
			return fmt.Sprintf("%s is looked into before %s but not inside fn: a caller that missed just before a flight ended loads again; look again inside fn, or use Fill", look.Name, call.Method)
		}
	}
	return ""
}

// same reports whether op is of that kind, and on the same cache as other.
func same(op, other cachelike.Op, kind cachelike.Kind) bool {
	return op.Kind == kind && op.Cache == other.Cache
}

// elsewhere reports whether pos is in a function literal that the call is
// not in.
func elsewhere(call *flight.Call, pos token.Pos) bool {
	found := false
	ast.Inspect(call.Outermost(), func(n ast.Node) bool {
		if lit, ok := n.(*ast.FuncLit); ok {
			in := func(p token.Pos) bool { return lit.Pos() <= p && p < lit.End() }
			found = found || in(pos) && !in(call.Pos())
		}
		return !found
	})
	return found
}

func mentions(info *types.Info, store cachelike.Op, vars map[*types.Var]bool) bool {
	for _, arg := range store.Args {
		if cachelike.Depends(info, arg, vars) {
			return true
		}
	}
	return false
}

// results are the variables that hold the value which call returned, or what
// is made of it.
func results(info *types.Info, call *flight.Call) map[*types.Var]bool {
	vars := make(map[*types.Var]bool)
	set := func(lhs ast.Expr) bool {
		id, ok := lhs.(*ast.Ident)
		if !ok {
			return false
		}
		v, ok := info.ObjectOf(id).(*types.Var)
		if !ok || vars[v] || isError(v.Type()) {
			return false
		}
		vars[v] = true
		return true
	}
	switch p := call.Cursor.Parent().Node().(type) {
	case *ast.AssignStmt:
		set(p.Lhs[0])
	case *ast.ValueSpec:
		set(p.Names[0])
	}
	for grown := true; grown; {
		grown = false
		ast.Inspect(call.Outermost(), func(n ast.Node) bool {
			if s, ok := n.(*ast.AssignStmt); ok && s.Pos() >= call.End() {
				for i, rhs := range s.Rhs {
					if !cachelike.Depends(info, rhs, vars) && !contains(rhs, call.CallExpr) {
						continue
					}
					if len(s.Rhs) == len(s.Lhs) {
						grown = set(s.Lhs[i]) || grown
						continue
					}
					for _, lhs := range s.Lhs {
						grown = set(lhs) || grown
					}
				}
			}
			return true
		})
	}
	return vars
}

func isError(t types.Type) bool {
	return types.Identical(t, types.Universe.Lookup("error").Type()) || types.Identical(t, types.Typ[types.Bool])
}

func contains(root ast.Node, n ast.Node) bool {
	return root.Pos() <= n.Pos() && n.End() <= root.End()
}
