// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

//go:build schedules

package singleflight_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A wrongVersion is a change to the package that the explorer has to notice,
// and a program whose schedules show it.
type wrongVersion struct {
	name    string
	program []actor // their fns return
	file    string
	changes []string // each text, followed by what takes its place
}

var wrongVersions = []wrongVersion{
	{"callers are woken before the key is free", []actor{{schedDo, 0}, {schedDo, 0}, {schedDo, 0}}, "call.go", []string{
		"	g.mu.Lock()\n	g.ended++\n",
		"	early := c.done\n	if early != nil {\n		c.out = *out\n		c.out.shared = true\n		close(early)\n	}\n	g.mu.Lock()\n	g.ended++\n",
		"	if c.done != nil {\n",
		"	if c.done != nil && early == nil {\n",
	}},
	{"the last caller is determined after the unlock", []actor{{schedDoContext, 0}, {schedCanceled, 0}}, "context.go", []string{
		"	abandoned := c.callers == 0 && c.cancel != nil\n	if abandoned {\n		g.flights.remove(c)\n	}\n	g.mu.Unlock()\n	if abandoned {\n",
		"	g.mu.Unlock()\n	abandoned := c.callers == 0 && c.cancel != nil\n	if abandoned {\n		g.mu.Lock()\n		g.flights.remove(c)\n		g.mu.Unlock()\n",
	}},
	{"the key is removed even if it belongs to another flight", []actor{{schedDo, 0}, {schedDo, 0}, {schedCanceled, 0}}, "call.go", []string{
		"	g.flights.remove(c)\n	if c.done == nil",
		"	if other := g.flights.find(c.key); other != nil {\n		g.flights.remove(other)\n	}\n	if c.done == nil",
	}},
	{"a record is used again although a caller waits for it", []actor{{schedDo, 0}, {schedDo, 0}, {schedCanceled, 0}}, "call.go", []string{
		"	for _, ch := range c.chans {\n		ch <- out.result()\n	}\n",
		"	for _, ch := range c.chans {\n		ch <- out.result()\n	}\n" +
			"	g.mu.Lock()\n	c.done, c.chans, c.cancel, c.ended, c.spawned, c.callers = nil, nil, nil, false, false, 1\n	g.reuseLocked(c)\n	g.mu.Unlock()\n",
	}},
	{"a canceled flight can be joined", []actor{{schedDoContext, 0}, {schedCanceled, 0}}, "context.go", []string{
		"	if abandoned {\n		g.flights.remove(c)\n	}\n", "",
	}},
	{"a flight of Fill is abandoned", []actor{{schedFill, 0}, {schedFillCanceled, 0}}, "context.go", []string{
		"c.callers == 0 && c.cancel != nil", "c.callers == 0",
		"	if abandoned {\n		c.cancel()", "	if abandoned && c.cancel != nil {\n		c.cancel()",
	}},
	{"Set is called for a forgotten flight", []actor{{schedFill, 0}, {schedWrite, 0}}, "fill.go", []string{
		"	if err == nil && g.mayStore(c) {\n", "	if g.mayStore(c); err == nil {\n",
	}},
	{"Forget does not wait for Set", []actor{{schedFill, 0}, {schedWrite, 0}}, "call.go", []string{
		"	if c.storing {\n", "	if false {\n",
	}},
	{"a second Forget does not wait for Set", []actor{{schedFill, 0}, {schedWrite, 0}, {schedWrite, 0}}, "call.go", []string{
		"		done := c.doneLocked()\n", "		done := c.doneLocked()\n		g.flights.remove(c)\n",
	}},
	{"Invalidate does not forget a second time", []actor{{schedFill, 0}, {schedFill, 0}, {schedFill, 0}, {schedWrite, 0}}, "fill.go", []string{
		"	cache.Delete(key)\n	g.Forget(key)", "	cache.Delete(key)\n	//",
	}},
	{"the last caller leaves and fn's context is not canceled", []actor{{schedDoContext, 0}, {schedCanceled, 0}}, "context.go", []string{
		"	if abandoned {\n		c.cancel()\n", "	if abandoned {\n",
	}},
	{"whether to store is looked up by the key", []actor{{schedFill, 0}, {schedDo, 0}, {schedWrite, 0}}, "fill.go", []string{
		"	c.storing = c.place != nowhere\n", "	c.storing = g.flights.find(c.key) != nil\n",
	}},
	{"the outcome is written after the waiters are woken", []actor{{schedDo, 0}, {schedDo, 0}}, "call.go", []string{
		"		c.out = *out\n		close(c.done)\n", "		close(c.done)\n		g.mu.Lock()\n		c.out = *out\n		g.mu.Unlock()\n",
	}},
	{"a caller leaves a flight that has ended", []actor{{schedDo, 0}, {schedCanceled, 0}}, "context.go", []string{
		"	if c.ended {\n		g.mu.Unlock()\n		return false\n	}\n", "",
	}},
}

// The explorer finds each of these wrong versions. With -v, the test prints the
// schedules that show them.
func TestExplorerFindsWrongVersions(t *testing.T) {
	for _, wrong := range wrongVersions {
		t.Run(wrong.name, func(t *testing.T) {
			t.Parallel()
			source, err := os.ReadFile(wrong.file)
			if err != nil {
				t.Fatal(err)
			}
			changed := string(source)
			for i := 0; i < len(wrong.changes); i += 2 {
				if n := strings.Count(changed, wrong.changes[i]); n != 1 {
					t.Fatalf("%s has %q %d times, want once", wrong.file, wrong.changes[i], n)
				}
				changed = strings.Replace(changed, wrong.changes[i], wrong.changes[i+1], 1)
			}
			dir := t.TempDir()
			file, err := filepath.Abs(wrong.file)
			if err != nil {
				t.Fatal(err)
			}
			overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{file: filepath.Join(dir, "changed.go")}})
			if err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{"changed.go": changed, "overlay.json": string(overlay)} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			program := programToRun{wrong.program, "returns"}.String()
			run := "^TestSchedules$/^more$/^all$/^" + strings.NewReplacer(" ", "_", "+", `\+`, "/", "$/^").Replace(program) + "$"
			out, err := exec.Command("go", "test", "-tags", "schedules", "-vet=off", "-overlay", filepath.Join(dir, "overlay.json"), "-run", run, ".").CombinedOutput()
			if err == nil {
				t.Fatalf("go test of the wrong version passed, want the explorer to notice it:\n%s", out)
			}
			found := regexp.MustCompile(`schedule ([0-9.]+):\n(?s:.*)schedule_test.go:\d+: (.*)\n`).FindSubmatch(out)
			if found == nil {
				t.Fatalf("go test of the wrong version printed no schedule, want one and what is wrong:\n%s", out)
			}
			t.Logf("%s, schedule %s: %s", program, found[1], found[2])
		})
	}
}
