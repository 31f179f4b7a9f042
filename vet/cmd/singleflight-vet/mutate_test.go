// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"go/types"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/analysis/checker"
	"golang.org/x/tools/go/packages"
)

// No source makes an analyzer panic, whether it is complete or some of its
// tokens are missing, doubled, exchanged or cut off.
func TestMutatedSource(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 5
	}
	for _, name := range []string{"joinedkey.on", "missingkey.on", "migrate.on", "sharedctx.fields"} {
		setFlag(t, name)
	}
	pkgs := load(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	compiled, reported := 0, 0
	for _, pkg := range pkgs {
		for i := range rounds {
			mutated := mutate(t, pkg, rnd, i > 0)
			if !mutated.IllTyped {
				compiled++
			}
			reported += analyze(t, mutated)
		}
	}
	// If no mutant compiled, or the analyzers reported nothing, this test would
	// show nothing.
	if compiled < len(pkgs) || reported < 10*len(pkgs) {
		t.Errorf("of %d mutants: got %d that compile and %d reports, want at least %d and %d",
			rounds*len(pkgs), compiled, reported, len(pkgs), 10*len(pkgs))
	}
	t.Logf("of %d mutants %d compile; %d reports", rounds*len(pkgs), compiled, reported)
}

func setFlag(t *testing.T, name string) {
	t.Helper()
	for _, a := range analyzers {
		if flag, ok := strings.CutPrefix(name, a.Name+"."); ok {
			if err := a.Flags.Set(flag, "true"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { a.Flags.Set(flag, "false") })
			return
		}
	}
	t.Fatalf("no analyzer has the flag %s", name)
}

// load loads the packages that the tests of the analyzers use.
func load(t *testing.T) []*packages.Package {
	t.Helper()
	gopath, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	pkgs, err := packages.Load(&packages.Config{
		Mode: packages.LoadSyntax | packages.NeedDeps,
		Dir:  filepath.Join(gopath, "src"),
		Env:  append(os.Environ(), "GO111MODULE=off", "GOPATH="+gopath, "GOFLAGS=", "GOWORK=off"),
	}, "./...")
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 10 {
		t.Fatalf("packages.Load(%s): got %d packages, want at least 10", gopath, len(pkgs))
	}
	return pkgs
}

type importer map[string]*packages.Package

func (i importer) Import(path string) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	if pkg := i[path]; pkg != nil && pkg.Types != nil {
		return pkg.Types, nil
	}
	return nil, fmt.Errorf("no package %s", path)
}

// mutate returns pkg, type-checked as far as it can be. If change is set, it
// changes one file first.
func mutate(t *testing.T, pkg *packages.Package, rnd *rand.Rand, change bool) *packages.Package {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	mutated := &packages.Package{
		ID: pkg.ID, Name: pkg.Name, PkgPath: pkg.PkgPath, Fset: fset,
		TypesSizes: pkg.TypesSizes, CompiledGoFiles: pkg.CompiledGoFiles, GoFiles: pkg.GoFiles,
		TypesInfo: &types.Info{
			Types:        make(map[ast.Expr]types.TypeAndValue),
			Defs:         make(map[*ast.Ident]types.Object),
			Uses:         make(map[*ast.Ident]types.Object),
			Implicits:    make(map[ast.Node]types.Object),
			Instances:    make(map[*ast.Ident]types.Instance),
			Scopes:       make(map[ast.Node]*types.Scope),
			Selections:   make(map[*ast.SelectorExpr]*types.Selection),
			FileVersions: make(map[*ast.File]string),
		},
	}
	chosen := rnd.IntN(len(pkg.CompiledGoFiles))
	for i, name := range pkg.CompiledGoFiles {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if change && i == chosen {
			source = mutateTokens(source, rnd)
		}
		f, err := parser.ParseFile(fset, name, source, parser.ParseComments|parser.SkipObjectResolution)
		mutated.IllTyped = mutated.IllTyped || err != nil
		if f != nil {
			files = append(files, f)
		}
	}
	config := &types.Config{
		Importer: importer(pkg.Imports),
		Error: func(err error) {
			mutated.IllTyped = true
			if err, ok := err.(types.Error); ok {
				mutated.TypeErrors = append(mutated.TypeErrors, err)
			}
		},
	}
	mutated.Syntax = files
	mutated.Types, _ = config.Check(pkg.PkgPath, fset, files, mutated.TypesInfo)
	if mutated.IllTyped {
		mutated.Errors = []packages.Error{{Msg: "mutated"}}
	}
	return mutated
}

// mutateTokens changes one to three tokens of source.
func mutateTokens(source []byte, rnd *rand.Rand) []byte {
	for range 1 + rnd.IntN(3) {
		ends := tokens(source)
		n := len(ends) - 1
		if n < 10 {
			return source
		}
		text := func(i int) []byte { return source[ends[i]:ends[i+1]] }
		i, j := rnd.IntN(n), rnd.IntN(n)
		switch rnd.IntN(6) {
		case 0: // leave one out
			source = slices.Concat(source[:ends[i]], source[ends[i+1]:])
		case 1: // leave several out
			last := min(i+rnd.IntN(20), n-1)
			source = slices.Concat(source[:ends[i]], source[ends[last+1]:])
		case 2: // write one twice
			source = slices.Concat(source[:ends[i+1]], source[ends[i]:])
		case 3, 4: // replace one by another
			source = slices.Concat(source[:ends[i]], text(j), source[ends[i+1]:])
		case 5: // cut the rest off
			if rnd.IntN(4) == 0 {
				source = slices.Clone(source[:ends[i]])
			}
		}
	}
	return source
}

// tokens returns the offsets at which the tokens of source begin, and its end.
func tokens(source []byte) []int {
	fset := token.NewFileSet()
	file := fset.AddFile("", -1, len(source))
	var s scanner.Scanner
	s.Init(file, source, func(token.Position, string) {}, 0)
	var offsets []int
	for {
		pos, tok, _ := s.Scan()
		if tok == token.EOF {
			return append(offsets, len(source))
		}
		offsets = append(offsets, file.Offset(pos))
	}
}

// analyze runs all analyzers on pkg, as a driver does, and returns how many
// reports they make.
func analyze(t *testing.T, pkg *packages.Package) int {
	t.Helper()
	defer func() {
		if v := recover(); v != nil {
			t.Logf("the analyzers panic on %s:", pkg.PkgPath)
			panic(v)
		}
	}()
	graph, err := checker.Analyze(analyzers, []*packages.Package{pkg}, &checker.Options{Sequential: true})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, root := range graph.Roots {
		if root.Err != nil && !pkg.IllTyped {
			t.Errorf("%s: %v", root, root.Err)
		}
		n += len(root.Diagnostics)
	}
	return n
}
