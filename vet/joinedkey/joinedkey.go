// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package joinedkey defines an Analyzer that finds keys in which two
// different requests can become one.
//
// # Analyzer joinedkey
//
// joinedkey: find keys that are joined from strings ambiguously
//
// A key that is joined from strings can be split in several ways: the key of
// tenant "a:b" and user "c" is that of tenant "a" and user "b:c".
//
//	g.Do(tenant+":"+user, load)
//
// The caller of one then gets the result of the other. The analyzer reports
// a key that is made with +, fmt.Sprintf, fmt.Sprint or strings.Join of two or
// more strings that are not constant, unless a control character, such as
// "\x00", stands between any two of them, or they are quoted, escaped or
// encoded. Numbers are not strings here.
//
// It is off by default, since the strings often cannot contain the
// separator, which it does not know; the flag -on enables it.
//
// There is no fix. The remedy is a struct for a key, which Group of
// example.com/singleflight takes.
package joinedkey

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/types/typeutil"

	"example.com/singleflight/vet/internal/flight"
	"example.com/singleflight/vet/internal/origin"
)

// Analyzer finds keys that are joined from strings ambiguously.
var Analyzer = &analysis.Analyzer{
	Name:             "joinedkey",
	Doc:              "find keys that are joined from strings ambiguously\n\nTwo requests whose strings join to the same key share a result. Off by default: set -joinedkey.on.",
	URL:              "https://pkg.go.dev/example.com/singleflight/vet/joinedkey",
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
		j := &joiner{info: pass.TypesInfo, root: call.Outermost(), pos: call.Pos()}
		if isString(pass.TypesInfo.TypeOf(call.Key)) && ambiguous(j.parts(call.Key, 0)) {
			pass.Report(analysis.Diagnostic{
				Pos:     call.Key.Pos(),
				End:     call.Key.End(),
				Message: "two different requests can have this key, which is joined from strings: use a struct, or quote the strings",
			})
		}
	}
	return nil, nil
}

// A part is a piece of a key: a constant, something whose text cannot be
// confused with a separator, or a free string.
type part struct {
	text string // of a constant
	free bool
}

// ambiguous reports whether the same key can be made of other free strings.
func ambiguous(parts []part) bool {
	seen, separated := false, false
	for _, p := range parts {
		if !p.free {
			separated = separated || strings.ContainsFunc(p.text, func(r rune) bool { return r < ' ' || r == 0x7f })
			continue
		}
		if seen && !separated {
			return true
		}
		seen, separated = true, false
	}
	return false
}

// A joiner takes a key apart.
type joiner struct {
	info *types.Info
	root ast.Node  // the function around the call
	pos  token.Pos // of the call
}

func (j *joiner) parts(e ast.Expr, depth int) []part {
	e = ast.Unparen(e)
	tv := j.info.Types[e]
	if tv.Value != nil {
		if tv.Value.Kind() == constant.String {
			return []part{{text: constant.StringVal(tv.Value)}}
		}
		return []part{{text: tv.Value.String()}}
	}
	if !isString(tv.Type) {
		return []part{{}}
	}
	switch e := e.(type) {
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return append(j.parts(e.X, depth), j.parts(e.Y, depth)...)
		}
	case *ast.Ident:
		// key := tenant + ":" + user
		if v, ok := j.info.Uses[e].(*types.Var); ok && j.root != nil && depth < 5 && !v.IsField() {
			assignments, initial := origin.Reaching(j.info, j.root, v, j.pos)
			if len(assignments) == 1 && !initial && assignments[0].Value != nil && isString(j.info.TypeOf(assignments[0].Value)) {
				if s, ok := assignments[0].Stmt.(*ast.AssignStmt); !ok || s.Tok != token.ADD_ASSIGN {
					return j.parts(assignments[0].Value, depth+1)
				}
			}
		}
	case *ast.CallExpr:
		if j.info.Types[e.Fun].IsType() && len(e.Args) == 1 {
			return j.parts(e.Args[0], depth) // a conversion
		}
		return j.call(e, depth)
	}
	return []part{{free: true}}
}

// call takes apart what a function returns, if it is one that joins or
// encodes.
func (j *joiner) call(e *ast.CallExpr, depth int) []part {
	fn, ok := typeutil.Callee(j.info, e).(*types.Func)
	if !ok || fn.Pkg() == nil {
		return []part{{free: true}}
	}
	switch fn.Pkg().Path() {
	case "strconv", "encoding/hex", "encoding/base64", "net/url":
		return []part{{}}
	}
	if fn.Signature().Recv() != nil {
		// The text of an ID, an address, a time.
		return []part{{free: !strings.HasPrefix(fn.Name(), "String") && !strings.HasPrefix(fn.Name(), "Encode")}}
	}
	switch fn.FullName() {
	case "fmt.Sprint":
		var parts []part
		for _, arg := range e.Args {
			parts = append(parts, j.parts(arg, depth)...)
		}
		return parts
	case "fmt.Sprintf":
		return j.sprintf(e, depth)
	case "strings.Join":
		if len(e.Args) != 2 {
			break
		}
		sep := j.parts(e.Args[1], depth)
		lit, ok := ast.Unparen(e.Args[0]).(*ast.CompositeLit)
		if !ok {
			return append(append([]part{{free: true}}, sep...), part{free: true})
		}
		var parts []part
		for i, elt := range lit.Elts {
			if i > 0 {
				parts = append(parts, sep...)
			}
			parts = append(parts, j.parts(elt, depth)...)
		}
		return parts
	}
	return []part{{free: true}}
}

// sprintf takes apart a call of fmt.Sprintf with a constant format.
func (j *joiner) sprintf(e *ast.CallExpr, depth int) []part {
	if len(e.Args) == 0 || j.info.Types[e.Args[0]].Value == nil || e.Ellipsis.IsValid() {
		return []part{{free: true}}
	}
	format := constant.StringVal(j.info.Types[e.Args[0]].Value)
	args := e.Args[1:]
	var parts []part
	for {
		text, rest, found := strings.Cut(format, "%")
		parts = append(parts, part{text: text})
		if !found {
			return parts
		}
		rest = strings.TrimLeft(rest, "+-# 0123456789.[]*")
		if rest == "" {
			return parts
		}
		verb := rest[0]
		format = rest[1:]
		if verb == '%' {
			parts = append(parts, part{text: "%"})
			continue
		}
		if len(args) == 0 {
			return parts
		}
		if verb == 's' || verb == 'v' {
			parts = append(parts, j.parts(args[0], depth)...)
		} else {
			parts = append(parts, part{})
		}
		args = args[1:]
	}
}

func isString(t types.Type) bool {
	if t == nil {
		return false
	}
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&types.IsString != 0
}
