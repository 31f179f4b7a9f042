// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package vettest tests analyzers on the packages in vet/testdata/src.
package vettest

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/analysistest"
)

// Testdata is vet/testdata, which has the layout of a GOPATH and is shared by
// the tests of all analyzers.
func Testdata(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("../testdata")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Run tests what a reports in the packages.
func Run(t *testing.T, a *analysis.Analyzer, packages ...string) {
	t.Helper()
	analysistest.Run(t, Testdata(t), a, packages...)
}

// RunFixes tests what a reports in the packages, compares the fixed files
// with their golden files, and compiles these.
func RunFixes(t *testing.T, a *analysis.Analyzer, packages ...string) {
	t.Helper()
	analysistest.RunWithSuggestedFixes(t, Testdata(t), a, packages...)

	src := filepath.Join(t.TempDir(), "src")
	if err := os.CopyFS(src, os.DirFS(filepath.Join(Testdata(t), "src"))); err != nil {
		t.Fatal(err)
	}
	golden := 0
	for _, pkg := range packages {
		err := filepath.WalkDir(filepath.Join(src, pkg), func(path string, _ fs.DirEntry, err error) error {
			if fixed, ok := strings.CutSuffix(path, ".golden"); ok && err == nil {
				golden++
				return os.Rename(path, fixed)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if golden == 0 {
		t.Errorf("%v have no golden files", packages)
	}
	build := exec.Command("go", append([]string{"build"}, packages...)...)
	build.Env = append(os.Environ(), "GO111MODULE=off", "GOPATH="+filepath.Dir(src), "GOFLAGS=", "GOWORK=off", "PWD="+src)
	build.Dir = src
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("go build of the golden files: %v\n%s", err, out)
	}
}

// Set sets a flag of a for the test.
func Set(t *testing.T, a *analysis.Analyzer, flag, value string) {
	t.Helper()
	old := a.Flags.Lookup(flag).Value.String()
	if err := a.Flags.Set(flag, value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Flags.Set(flag, old) })
}
