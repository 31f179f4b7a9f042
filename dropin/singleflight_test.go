// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	core "example.com/singleflight"
	"example.com/singleflight/dropin"
)

const (
	from = `"golang.org/x/sync/singleflight"`
	to   = `"example.com/singleflight/dropin"`
)

// A program prints the same with both packages, when only its import path
// differs.
func TestMovingIsAnImportPath(t *testing.T) {
	source, err := os.ReadFile("testdata/program.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(source, []byte(from)); n != 1 {
		t.Fatalf("testdata/program.go imports %s %d times, want once", from, n)
	}
	run := func(source []byte) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), "program.go")
		if err := os.WriteFile(file, source, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("go", "run", file).CombinedOutput()
		if err != nil {
			t.Fatalf("go run: %v\n%s", err, out)
		}
		return string(out)
	}
	theirs := run(source)
	ours := run(bytes.Replace(source, []byte(from), []byte(to), 1))
	if ours != theirs {
		t.Errorf("go run with dropin printed:\n%s\nwant what it prints with x/sync:\n%s", ours, theirs)
	}
	const want = `value of a <nil> false
value of b <nil> false
runs: 2
{new <nil> false}
42 true true true
42 true true true
42 true true true
panicked: true
<nil> <nil> false
{1 <nil> true}
`
	if ours != want {
		t.Errorf("go run with dropin printed:\n%s\nwant:\n%s", ours, want)
	}
}

// The types are aliases, so that code which knows only the core package can
// use them.
func TestTypesAreTheCoresOwn(t *testing.T) {
	var g singleflight.Group
	var _ *core.Group[string, any] = &g
	var _ core.Result[any] = singleflight.Result{}
	if v, err, shared := g.Do("k", func() (any, error) { return 1, nil }); v != 1 || err != nil || shared {
		t.Errorf("Do = %v, %v, %v, want 1, nil, false", v, err, shared)
	}
}
