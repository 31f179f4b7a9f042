// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"example.com/singleflight"
)

// A Group at package level may be used by several tests.
var profiles singleflight.Group[int, string]

// In a _test.go file of yours, this function is called
// TestTenCallersShareOneLoad, and go test runs it.
func tenCallersShareOneLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := profiles.Stats()
		loads := 0
		load := func(ctx context.Context) (string, error) {
			loads++
			time.Sleep(time.Second) // takes no time in a bubble
			return "Ada", nil
		}
		for range 10 {
			go profiles.DoContext(t.Context(), 1, load)
		}
		synctest.Wait() // until all ten callers wait for the load

		joined := profiles.Stats().Joined - before.Joined
		if loads != 1 || joined != 9 {
			t.Errorf("10 callers: got %d loads and %d joined, want 1 and 9", loads, joined)
		}
		time.Sleep(time.Second) // until the load has ended
	})
}

// In a bubble of testing/synctest, Wait returns when all goroutines wait. So a
// test can ask for exactly one load, and need not sleep in real time.
func Example_synctest() {
	// What follows runs the test without go test. It is quiet under -v too.
	testing.Init()
	verbose := flag.Lookup("test.v").Value.String()
	flag.Set("test.v", "false")
	defer flag.Set("test.v", verbose)
	all := func(pattern, name string) (bool, error) { return true, nil }
	passed := testing.RunTests(all, []testing.InternalTest{
		{Name: "TestTenCallersShareOneLoad", F: tenCallersShareOneLoad},
	})
	fmt.Println("passed:", passed)

	// Output:
	// passed: true
}
