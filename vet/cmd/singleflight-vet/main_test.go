// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// vet is the command, built once for all tests.
var vet string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "singleflight-vet")
	if err != nil {
		panic(err)
	}
	vet = filepath.Join(dir, "singleflight-vet")
	build := exec.Command("go", "build", "-o", vet, ".")
	build.Stderr = os.Stderr
	code := 1
	if build.Run() == nil {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// run runs a command in dir, and returns what it prints and its exit code.
func run(t *testing.T, dir, name string, args ...string) (output string, code int) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PWD="+dir, "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return string(out), exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return string(out), 0
}

// must fails the test unless the command succeeds.
func must(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, code := run(t, dir, name, args...)
	if code != 0 {
		t.Fatalf("%s %s: got exit code %d, want 0:\n%s", filepath.Base(name), strings.Join(args, " "), code, out)
	}
	return out
}

// program copies testdata/program to a new folder, and makes it use the
// library of this repository.
func program(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/program")); err != nil {
		t.Fatal(err)
	}
	library, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	must(t, dir, "go", "mod", "edit", "-require=example.com/singleflight@v0.0.0", "-replace=example.com/singleflight="+library)
	return dir
}

// Reports that are often wrong, or that ask for a decision, are off by default.
func TestOffByDefault(t *testing.T) {
	off := map[string]bool{"joinedkey.on": true, "migrate.on": true, "missingkey.on": true, "sharedctx.fields": true}
	for _, a := range analyzers {
		a.Flags.VisitAll(func(f *flag.Flag) {
			name := a.Name + "." + f.Name
			if !off[name] || f.DefValue != "false" {
				t.Errorf("flag %s is %s by default, want one of %v and false", name, f.DefValue, off)
			}
			delete(off, name)
		})
	}
	if len(off) > 0 {
		t.Errorf("got no flags %v of the analyzers, want them", off)
	}
}

const report = "program.go:23:17: ctx belongs to the caller that starts the flight"

// The fix mends a program, whose test fails before it and passes after it.
func TestFixedProgram(t *testing.T) {
	dir := program(t)
	if out, code := run(t, dir, "go", "test", "./..."); code == 0 || !strings.Contains(out, "context canceled") {
		t.Errorf("go test before the fix: got exit code %d, want a failure with context canceled:\n%s", code, out)
	}
	if out, code := run(t, dir, vet, "./..."); code != 3 || strings.Count(out, report) != 1 {
		t.Errorf("singleflight-vet ./...: got exit code %d, want 3 and one report:\n%s", code, out)
	}

	source, err := os.ReadFile(filepath.Join(dir, "program.go"))
	if err != nil {
		t.Fatal(err)
	}
	diff := must(t, dir, vet, "-fix", "-diff", "./...")
	for _, want := range []string{
		"\n-\t\"golang.org/x/sync/singleflight\"\n",
		"\n+\t\"example.com/singleflight/dropin\"\n",
		"\n+\tv, err, _ := u.group.DoContext(ctx, id, func(ctx context.Context) (interface{}, error) {\n",
	} {
		if !strings.Contains(diff, want) {
			t.Errorf("singleflight-vet -fix -diff ./... printed this, want %q in it:\n%s", want, diff)
		}
	}
	if now, _ := os.ReadFile(filepath.Join(dir, "program.go")); !bytes.Equal(now, source) {
		t.Errorf("singleflight-vet -fix -diff ./... changed program.go, want it as it was")
	}

	must(t, dir, vet, "-fix", "./...")
	must(t, dir, "go", "vet", "./...")
	must(t, dir, "go", "test", "./...")
	must(t, dir, vet, "./...")
}

// sharedctx's fix makes the group one of dropin. If migrate has given it the
// type of its values before, the fix works on that too.
func TestMigratedProgram(t *testing.T) {
	dir := program(t)
	must(t, dir, vet, "-migrate", "-migrate.on", "-fix", "./...")
	source, err := os.ReadFile(filepath.Join(dir, "program.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"singleflight.Group[string, string]", "return v, nil", "func() (string, error) {"} {
		if !bytes.Contains(source, []byte(want)) {
			t.Errorf("singleflight-vet -migrate -fix wrote this, want %q in it:\n%s", want, source)
		}
	}
	must(t, dir, "go", "vet", "./...")
	must(t, dir, vet, "-fix", "./...")
	must(t, dir, "go", "test", "./...")
	must(t, dir, vet, "./...")
}

// A group that a test of its package uses is changed there too, and is
// reported once. If the test is not in the build, the group is left as it is.
func TestGroupInTest(t *testing.T) {
	dir := program(t)
	test := filepath.Join(dir, "group_test.go")
	source := "package program\n\nimport \"golang.org/x/sync/singleflight\"\n\nvar users = Users{group: singleflight.Group{}}\n"
	if err := os.WriteFile(test, []byte(source), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want, without string }{
		{"./...", report, "(no fix"},
		{"-test=false ./...", report, ""},
		{"-test=false ./...", "(no fix: group_test.go, which uses it too, is not in this build)", ""},
		{"program.go", "(no fix: group_test.go, which uses it too, is not in this build)", ""},
		{"-migrate -migrate.on ./...", "group can be a Group[string, string]", "left as it is"},
		{"-migrate -migrate.on -test=false ./...", "group is left as it is: group_test.go, which is not in this build, may use it", ""},
	} {
		out, code := run(t, dir, vet, strings.Fields(c.args)...)
		if code == 0 || strings.Count(out, c.want) != 1 || c.without != "" && strings.Contains(out, c.without) {
			t.Errorf("singleflight-vet %s: got exit code %d, want a failure, %q once, and no %q:\n%s", c.args, code, c.want, c.without, out)
		}
	}
	must(t, dir, vet, "-fix", "./...")
	must(t, dir, "go", "vet", "./...")
	must(t, dir, vet, "./...")

	// A test for another platform is in no build.
	dir = program(t)
	if err := os.WriteFile(filepath.Join(dir, "group_plan9_test.go"), []byte(source), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "program_test.go")); err != nil {
		t.Fatal(err)
	}
	const want = "(no fix: group_plan9_test.go, which uses it too, is not in this build)"
	if out, code := run(t, dir, vet, "./..."); code == 0 || strings.Count(out, want) != 1 {
		t.Errorf("singleflight-vet ./...: got exit code %d, want a failure and %q once:\n%s", code, want, out)
	}
}

// go vet runs the command as its vettool, and passes the flags of the command
// on.
func TestVettool(t *testing.T) {
	dir := program(t)
	out, code := run(t, dir, "go", "vet", "-vettool="+vet, "./...")
	if code == 0 || !strings.Contains(out, report) {
		t.Errorf("go vet -vettool: got exit code %d, want a failure and the report:\n%s", code, out)
	}
	out, code = run(t, dir, "go", "vet", "-vettool="+vet, "-migrate", "-migrate.on", "./...")
	if code == 0 || !strings.Contains(out, "group can be a Group[string, string]") || strings.Contains(out, report) {
		t.Errorf("go vet -vettool -migrate -migrate.on: got exit code %d, want migrate's report alone:\n%s", code, out)
	}
}

// The errors of a package are printed. What can be read of it is analyzed,
// and so are the other packages.
func TestPackageWithErrors(t *testing.T) {
	dir := program(t)
	if err := os.Mkdir(filepath.Join(dir, "broken"), 0o777); err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(dir, "program.go"))
	if err != nil {
		t.Fatal(err)
	}
	source = append(source, "\nvar x int = missing\n"...)
	if err := os.WriteFile(filepath.Join(dir, "broken", "broken.go"), source, 0o666); err != nil {
		t.Fatal(err)
	}
	out, code := run(t, dir, vet, "./...")
	if code == 0 || !strings.Contains(out, "undefined: missing") {
		t.Errorf("singleflight-vet ./...: got exit code %d, want a failure and the error:\n%s", code, out)
	}
	for _, want := range []string{report, "broken.go:23:17: ctx belongs", "(no fix: the package has errors)"} {
		if !strings.Contains(out, want) {
			t.Errorf("singleflight-vet ./... printed this, want %q in it:\n%s", want, out)
		}
	}
}
