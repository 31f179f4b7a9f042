// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package cachelike recognizes what code does to a cache, by the names that
// people give to it: cache.Get(key) and m[key] look into a cache,
// cache.Set(key, v) and m[key] = v store into it.
//
// Any map, and any value with a method of such a name, can be a cache. The
// analyzers therefore count only one that is both looked into and stored
// into around the same flight.
package cachelike

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/tools/go/types/typeutil"

	"example.com/singleflight/vet/internal/flight"
	"example.com/singleflight/vet/internal/origin"
)

// A Kind says what an operation does.
type Kind int

const (
	Look Kind = iota
	Store
)

// An Op is one operation on a cache.
type Op struct {
	Kind  Kind
	Cache any    // names the cache, and is the same for each of its operations; see identity
	Name  string // as the source calls the cache
	Named bool   // something in the operation is called a cache

	// Pos is where the operation stands in the code that was searched: at
	// the call of the function, if it stands in a function that was called.
	Pos  token.Pos
	Args []ast.Expr // of a Store: the values, and what goes with them
}

// A Finder finds the operations in a package.
type Finder struct {
	Info  *types.Info
	Calls *flight.Calls
}

// Ops are the operations in root, and in the functions of the package that
// it calls, to a depth of two. It does not enter skip.
func (f *Finder) Ops(root, skip ast.Node) []Op {
	return f.ops(root, skip, 2, make(map[*ast.FuncDecl]bool))
}

func (f *Finder) ops(root, skip ast.Node, depth int, seen map[*ast.FuncDecl]bool) []Op {
	var list []Op
	stored := make(map[ast.Expr]bool) // the m[key] that are assigned to
	ast.Inspect(root, func(n ast.Node) bool {
		if n == nil || n == skip {
			return false
		}
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, lhs := range n.Lhs {
				index, ok := lhs.(*ast.IndexExpr)
				if !ok || !f.isMap(index.X) {
					continue
				}
				stored[index] = true
				if n.Tok == token.ASSIGN {
					value := n.Rhs[min(i, len(n.Rhs)-1)]
					list = f.add(list, Op{Kind: Store, Pos: n.Pos(), Args: []ast.Expr{value}}, index.X, "")
				}
			}
		case *ast.IndexExpr:
			if !stored[n] && f.isMap(n.X) {
				list = f.add(list, Op{Kind: Look, Pos: n.Pos()}, n.X, "")
			}
		case *ast.CallExpr:
			list = f.call(list, n)
			if decl := f.Calls.Callee(n); decl != nil && depth > 0 && !seen[decl] {
				seen[decl] = true
				for _, op := range f.ops(decl.Body, skip, depth-1, seen) {
					op.Pos, op.Args = n.Pos(), nil
					list = append(list, op)
				}
			}
		}
		return true
	})
	return list
}

// call adds the operation that call is by its name, if it is one.
func (f *Finder) call(list []Op, call *ast.CallExpr) []Op {
	var recv ast.Expr
	var name string
	switch fun := ast.Unparen(call.Fun).(type) {
	case *ast.SelectorExpr:
		recv, name = fun.X, fun.Sel.Name
	case *ast.Ident:
		recv, name = fun, fun.Name
		if !saysCache(name) {
			return list
		}
	default:
		return list
	}
	if foreign[typeName(f.Info.TypeOf(recv))] {
		return list
	}
	words := split(name)
	if len(words) == 0 {
		return list
	}
	// A method that this package declares may load or save anything, unless
	// its name is only a verb or says that it is about a cache.
	if len(words) > 1 && f.Calls.Callee(call) != nil && !saysCache(name) {
		return list
	}
	// A key to look for, and a value with it to store.
	switch {
	case len(call.Args) >= 1 && lookVerbs[words[0]], len(call.Args) >= 1 && saysCache(name) && containsAny(words, lookVerbs):
		return f.add(list, Op{Kind: Look, Pos: call.Pos()}, recv, name)
	case len(call.Args) >= 2 && storeVerbs[words[0]], len(call.Args) >= 2 && saysCache(name) && containsAny(words, storeVerbs):
		return f.add(list, Op{Kind: Store, Pos: call.Pos(), Args: call.Args[1:]}, recv, name)
	}
	return list
}

var (
	lookVerbs  = set("get", "load", "lookup", "peek", "retrieve", "mget")
	storeVerbs = set("set", "add", "put", "store", "save", "insert", "mset")

	// foreign are types with methods of these names that are no caches.
	foreign = set("net/http.Header", "net/url.Values", "net/textproto.MIMEHeader",
		"sync.WaitGroup", "sync/atomic.Value", "sync/atomic.Pointer", "sync.Pool")
)

func (f *Finder) add(list []Op, op Op, cache ast.Expr, verb string) []Op {
	op.Cache = f.identity(cache)
	if op.Cache == nil {
		return list
	}
	op.Name = types.ExprString(cache)
	t := typeName(f.Info.TypeOf(cache))
	op.Named = saysCache(op.Name) || saysCache(t[strings.LastIndexByte(t, '/')+1:]) || saysCache(verb)
	return append(list, op)
}

// identity is the same for all expressions that probably name one cache,
// in different functions too: the field, the variable, or, for a method that
// this package declares, the type of its receiver.
func (f *Finder) identity(e ast.Expr) any {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		switch obj := f.Info.ObjectOf(e).(type) {
		case *types.Var:
			if named := flight.Named(obj.Type()); named != nil && named.Obj().Pkg() == obj.Pkg() {
				return named.Obj()
			}
			return obj
		case *types.PkgName:
			return obj.Imported()
		case *types.Func:
			return obj.Pkg() // getFromCache(key)
		}
	case *ast.SelectorExpr:
		switch obj := f.Info.ObjectOf(e.Sel).(type) {
		case *types.Var:
			return obj.Origin()
		}
	case *ast.CallExpr:
		if fn, ok := typeutil.Callee(f.Info, e).(*types.Func); ok {
			return fn.Origin()
		}
	case *ast.IndexExpr:
		return f.identity(e.X)
	case *ast.StarExpr:
		return f.identity(e.X)
	case *ast.UnaryExpr:
		return f.identity(e.X)
	}
	return nil
}

func (f *Finder) isMap(e ast.Expr) bool {
	t := f.Info.TypeOf(e)
	if t == nil {
		return false
	}
	_, ok := t.Underlying().(*types.Map)
	return ok
}

// Depends reports whether e mentions a variable of vars.
func Depends(info *types.Info, e ast.Node, vars map[*types.Var]bool) bool {
	found := false
	ast.Inspect(e, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			if v, ok := info.Uses[id].(*types.Var); ok && vars[v] {
				found = true
			}
		}
		return !found
	})
	return found
}

// StoresIn reports whether body, the function of a flight, stores what it
// has loaded into something that is called a cache, or that the function
// around it looks into.
func (f *Finder) StoresIn(body *ast.BlockStmt, around ast.Node) bool {
	if body == nil {
		return false
	}
	var outside []Op
	if around != nil {
		outside = f.Ops(around, body)
	}
	for _, op := range f.Ops(body, nil) {
		if op.Kind != Store || f.local(op, body) {
			continue
		}
		if op.Named || slices.ContainsFunc(outside, func(o Op) bool { return o.Kind == Look && o.Cache == op.Cache }) {
			return true
		}
	}
	return false
}

// local reports whether the cache of op is a variable of body's own.
func (f *Finder) local(op Op, body *ast.BlockStmt) bool {
	v, ok := op.Cache.(*types.Var)
	return ok && !v.IsField() && !origin.Captured(v, body) && v.Parent() != v.Pkg().Scope()
}

func typeName(t types.Type) string {
	named := flight.Named(t)
	if named == nil || named.Obj().Pkg() == nil {
		return ""
	}
	return named.Obj().Pkg().Path() + "." + named.Obj().Name()
}

func saysCache(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "cache") || strings.Contains(name, "lru") || strings.Contains(name, "memo")
}

func containsAny(words []string, set map[string]bool) bool {
	return slices.ContainsFunc(words, func(w string) bool { return set[w] })
}

// split cuts a name in camel case into words in lower case.
func split(name string) []string {
	var words []string
	start := 0
	for i, r := range name {
		if i > start && unicode.IsUpper(r) && !unicode.IsUpper(rune(name[i-1])) {
			words = append(words, strings.ToLower(name[start:i]))
			start = i
		}
	}
	if start < len(name) {
		words = append(words, strings.ToLower(name[start:]))
	}
	return words
}

func set(words ...string) map[string]bool {
	m := make(map[string]bool)
	for _, w := range words {
		m[w] = true
	}
	return m
}
