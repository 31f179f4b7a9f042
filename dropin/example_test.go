// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	singleflight "example.com/singleflight/dropin"
)

// This code was written for golang.org/x/sync/singleflight. Only its import
// path has changed.
func Example() {
	var g singleflight.Group
	release := make(chan struct{})
	load := func() (any, error) {
		<-release
		return 42, nil
	}

	channels := []<-chan singleflight.Result{g.DoChan("answer", load), g.DoChan("answer", load)}
	close(release)
	for _, ch := range channels {
		r := <-ch
		n := r.Val.(int)
		fmt.Println(n, r.Err, r.Shared)
	}

	// Output:
	// 42 <nil> true
	// 42 <nil> true
}

// A Group has the other methods of the core package too. With DoContext, each
// caller waits on its own context.
func ExampleGroup() {
	var g singleflight.Group
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()

	var wg sync.WaitGroup
	wg.Add(1)
	_, err, _ := g.DoContext(ctx, "answer", func(ctx context.Context) (any, error) {
		defer wg.Done()
		<-ctx.Done() // stands for a query that heeds its context
		return nil, ctx.Err()
	})
	wg.Wait()
	fmt.Println(err)

	// Output:
	// context deadline exceeded
}

// The channel receives a result although fn called runtime.Goexit. With x/sync,
// it would receive nothing, and the program would wait forever.
func ExampleResult() {
	var g singleflight.Group
	r := <-g.DoChan("answer", func() (any, error) {
		runtime.Goexit() // as t.FailNow does in a test
		return 42, nil
	})
	fmt.Println(r.Val, r.Err)

	// Output:
	// <nil> singleflight: fn called runtime.Goexit
}
