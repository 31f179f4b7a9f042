// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package edit makes the changes that the fixes have in common: imports, and
// the move of a package from x/sync to this library, which has to reach every
// use of x/sync's types or be left undone.
package edit

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/go/analysis"

	"example.com/singleflight/vet/internal/flight"
)

// FileOf is the file of pass that contains pos.
func FileOf(pass *analysis.Pass, pos token.Pos) *ast.File {
	for _, f := range pass.Files {
		if f.FileStart <= pos && pos < f.FileEnd {
			return f
		}
	}
	return nil
}

// Import returns the name under which code at pos can refer to the package
// path, whose own name is name, and the edits that add the import where the
// file has none. It fails if the name means something else at pos.
func Import(pass *analysis.Pass, pos token.Pos, path, name string) (string, []analysis.TextEdit, bool) {
	file := FileOf(pass, pos)
	if file == nil {
		return "", nil, false
	}
	scope := pass.Pkg.Scope().Innermost(pos)
	if scope == nil {
		return "", nil, false
	}
	for _, spec := range file.Imports {
		if p, _ := strconv.Unquote(spec.Path.Value); p != path {
			continue
		}
		local := name
		if spec.Name != nil {
			local = spec.Name.Name
		}
		if local == "_" || local == "." {
			continue
		}
		_, obj := scope.LookupParent(local, pos)
		pkg, ok := obj.(*types.PkgName)
		return local, nil, ok && flight.PathOf(pkg.Imported()) == path
	}
	if _, obj := scope.LookupParent(name, pos); obj != nil {
		return "", nil, false
	}
	line := strconv.Quote(path)
	for _, decl := range file.Decls {
		if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.IMPORT {
			if d.Lparen.IsValid() {
				return name, insert(d.Lparen+1, "\n\t"+line), true
			}
			return name, parenthesize(d, line), true
		}
	}
	return name, insert(file.Name.End(), "\n\nimport "+line), true
}

// parenthesize returns the edits that add line to d, an import declaration
// without parentheses. Those of several imports go together, since a driver
// leaves out edits that it has already.
func parenthesize(d *ast.GenDecl, line string) []analysis.TextEdit {
	spec := d.Specs[0].(*ast.ImportSpec)
	before := "\n\n\t"
	if path, _ := strconv.Unquote(spec.Path.Value); !strings.Contains(path, ".") {
		before = "\n\t" // it is of the standard library, too
	}
	keyword := d.Pos() + token.Pos(len("import"))
	return slices.Concat(insert(keyword, " ("), insert(keyword, "\n\t"+line), insert(spec.Pos(), before), insert(spec.End(), "\n)"))
}

func insert(pos token.Pos, text string) []analysis.TextEdit {
	return []analysis.TextEdit{{Pos: pos, End: pos, NewText: []byte(text)}}
}

// XSyncImports are the imports of x/sync's singleflight in the files of pass.
func XSyncImports(pass *analysis.Pass) []*ast.ImportSpec {
	var specs []*ast.ImportSpec
	for _, f := range pass.Files {
		for _, spec := range f.Imports {
			if isXSync(spec) {
				specs = append(specs, spec)
			}
		}
	}
	return specs
}

func isXSync(spec *ast.ImportSpec) bool {
	path, _ := strconv.Unquote(spec.Path.Value)
	return path == flight.XSyncPath
}

// SetPath returns the edit that makes spec import path.
func SetPath(spec *ast.ImportSpec, path string) analysis.TextEdit {
	return analysis.TextEdit{Pos: spec.Path.Pos(), End: spec.Path.End(), NewText: []byte(strconv.Quote(path))}
}

// Obstacle says why the types of x/sync's package cannot be exchanged in all
// of the package at once, or "" if they can: some use of them is where an
// edit of this package does not reach.
func Obstacle(pass *analysis.Pass) string {
	for _, f := range pass.Files {
		if slices.ContainsFunc(f.Imports, isXSync) && ast.IsGenerated(f) {
			return fmt.Sprintf("%s, which uses it too, is generated", base(pass, f))
		}
	}
	if pass.Pkg.Name() != "main" {
		if name := exported(pass.Pkg); name != "" {
			return name + " shows a type of " + flight.XSyncPath + " to other packages"
		}
	}
	if name := foreign(pass); name != "" {
		return name + " of another package has a type of " + flight.XSyncPath
	}
	if name := Unseen(pass, ""); name != "" {
		return fmt.Sprintf("%s, which uses it too, is not in this build", name)
	}
	return ""
}

func base(pass *analysis.Pass, f *ast.File) string {
	return filepath.Base(pass.Fset.Position(f.Package).Filename)
}

// Tests says whether the driver analyzes each package that has tests a second
// time, together with them. A driver that does so sets it.
var Tests = func() bool { return false }

// AnalyzedAgain reports whether the driver analyzes the package of pass
// again, together with its tests. What the fixes can reach is better known
// then, and one line should not be reported with two different reasons.
func AnalyzedAgain(pass *analysis.Pass) bool {
	if !Tests() || pass.Pkg.Path() == "command-line-arguments" {
		return false
	}
	dir, seen := folder(pass)
	ignored := make(map[string]bool)
	for _, name := range pass.IgnoredFiles {
		ignored[filepath.Base(name)] = true
	}
	again := false
	for name := range others(pass, dir, seen) {
		again = again || strings.HasSuffix(name, "_test.go") && !ignored[name]
	}
	return again
}

// folder is that of the package, and the files in it that are in pass.
func folder(pass *analysis.Pass) (dir string, seen map[string]bool) {
	seen = make(map[string]bool)
	for _, f := range pass.Files {
		name := pass.Fset.Position(f.Package).Filename
		if strings.HasSuffix(name, ".go") {
			dir = filepath.Dir(name)
			seen[filepath.Base(name)] = true
		}
	}
	return dir, seen
}

// others are the files of the package in dir that are not in seen.
func others(pass *analysis.Pass, dir string, seen map[string]bool) iter.Seq2[string, *ast.File] {
	return func(yield func(string, *ast.File) bool) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return // the source is not in a folder, and neither are others
		}
		for _, e := range entries {
			if seen[e.Name()] || !strings.HasSuffix(e.Name(), ".go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, e.Name()), nil, parser.SkipObjectResolution)
			if err != nil || f.Name.Name != pass.Pkg.Name() {
				continue // an external test sees only what is exported
			}
			if !yield(e.Name(), f) {
				return
			}
		}
	}
}

// Unseen is a file in the folder of the package that uses the name ident,
// or, if ident is empty, imports x/sync's package, and is not in pass: it is
// for another platform, or it is a test and pass is the package without its
// tests.
func Unseen(pass *analysis.Pass, ident string) string {
	dir, seen := folder(pass)
	for name, f := range others(pass, dir, seen) {
		if ident == "" && slices.ContainsFunc(f.Imports, isXSync) || ident != "" && mentionsName(f, ident) {
			return name
		}
	}
	return ""
}

func mentionsName(f *ast.File, name string) bool {
	found := false
	ast.Inspect(f, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && id.Name == name {
			found = true
		}
		return !found
	})
	return found
}

// exported is something that other packages can reach in pkg and that has
// a type of x/sync's package.
func exported(pkg *types.Package) string {
	for _, name := range pkg.Scope().Names() {
		obj := pkg.Scope().Lookup(name)
		if !obj.Exported() {
			continue
		}
		if mentions(obj.Type(), 0) {
			return name
		}
		tn, ok := obj.(*types.TypeName)
		if !ok {
			continue
		}
		if s, ok := tn.Type().Underlying().(*types.Struct); ok {
			for f := range s.Fields() {
				if f.Exported() && mentions(f.Type(), 0) {
					return name + "." + f.Name()
				}
			}
		} else if mentions(tn.Type().Underlying(), 0) {
			return name
		}
		if named, ok := types.Unalias(tn.Type()).(*types.Named); ok {
			for m := range named.Methods() {
				if m.Exported() && mentions(m.Type(), 0) {
					return name + "." + m.Name()
				}
			}
		}
	}
	return ""
}

// foreign is something that this package uses of a package other than x/sync's
// and that has a type of x/sync's.
func foreign(pass *analysis.Pass) string {
	var first *ast.Ident
	for id, obj := range pass.TypesInfo.Uses {
		if obj.Pkg() == nil || obj.Pkg() == pass.Pkg || flight.PathOf(obj.Pkg()) == flight.XSyncPath {
			continue
		}
		if _, ok := obj.(*types.PkgName); ok || first != nil && first.Pos() < id.Pos() {
			continue
		}
		if mentions(obj.Type(), 0) {
			first = id
		}
	}
	if first == nil {
		return ""
	}
	return first.Name
}

// mentions reports whether t is made of a type of x/sync's package, without
// entering the named types of other packages.
func mentions(t types.Type, depth int) bool {
	if t == nil || depth > 10 {
		return false
	}
	again := func(t types.Type) bool { return mentions(t, depth+1) }
	switch t := types.Unalias(t).(type) {
	case *types.Named:
		if pkg := t.Obj().Pkg(); pkg != nil && flight.PathOf(pkg) == flight.XSyncPath {
			return true
		}
		for arg := range t.TypeArgs().Types() {
			if again(arg) {
				return true
			}
		}
	case *types.Pointer:
		return again(t.Elem())
	case *types.Slice:
		return again(t.Elem())
	case *types.Array:
		return again(t.Elem())
	case *types.Chan:
		return again(t.Elem())
	case *types.Map:
		return again(t.Key()) || again(t.Elem())
	case *types.Tuple:
		for v := range t.Variables() {
			if again(v.Type()) {
				return true
			}
		}
	case *types.Signature:
		return again(t.Params()) || again(t.Results())
	case *types.Struct:
		for f := range t.Fields() {
			if again(f.Type()) {
				return true
			}
		}
	case *types.Interface:
		for m := range t.ExplicitMethods() {
			if again(m.Type()) {
				return true
			}
		}
	}
	return false
}
