// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/internal/engine"
	"example.com/singleflight/fleet/internal/enginetest"
)

// connect stands for natskv.Open or redis.Open, which every process calls for
// itself. Here all engines are on one store in memory.
func connect() engine.Engine { return exampleStore.Connect() }

var exampleStore = enginetest.NewFake(enginetest.FakeOptions{})

// Two processes ask for the same report at the same time, and one of them
// builds it.
func Example() {
	ctx := context.Background()
	var builds, callers sync.WaitGroup
	builds.Add(1) // until both have called

	for range 2 { // processes
		reports, err := fleet.New[string](connect()) // natskv.Open(…) or redis.Open(…)
		if err != nil {
			fmt.Println(err)
			return
		}
		callers.Go(func() {
			report, err, _ := reports.DoContext(ctx, "sales", func(ctx context.Context) (string, error) {
				fmt.Println("building")
				builds.Wait()
				return "42 boats", nil
			})
			fmt.Println(report, err)
		})
	}
	time.Sleep(100 * time.Millisecond)
	builds.Done()
	callers.Wait()
	// Output:
	// building
	// 42 boats <nil>
	// 42 boats <nil>
}

// After a write, Forget keeps later calls, in all processes, from joining a
// load that may have read the old value.
func ExampleGroup_Forget() {
	ctx := context.Background()
	prices, err := fleet.New[int](connect())
	if err != nil {
		fmt.Println(err)
		return
	}
	price := 10
	load := func(context.Context) (int, error) { return price, nil }

	v, _, _ := prices.DoContext(ctx, "herring", load)
	fmt.Println(v)

	price = 12 // in the database
	if err := prices.Forget(ctx, "herring"); err != nil {
		fmt.Println("other processes may not have heard:", err)
	}
	v, _, _ = prices.DoContext(ctx, "herring", load)
	fmt.Println(v)
	// Output:
	// 10
	// 12
}

// The error of a load in another process arrives as its text.
func ExampleRemoteError() {
	ctx := context.Background()
	running := make(chan bool)
	fail := make(chan bool)
	here, err1 := fleet.New[string](connect())
	there, err2 := fleet.New[string](connect())
	if err := errors.Join(err1, err2); err != nil {
		fmt.Println(err)
		return
	}
	go there.DoContext(ctx, "k", func(context.Context) (string, error) {
		close(running)
		<-fail
		return "", errors.New("the disk is full")
	})
	<-running
	time.AfterFunc(100*time.Millisecond, func() { close(fail) })

	_, err, _ := here.DoContext(ctx, "k", func(context.Context) (string, error) {
		return "not called", nil
	})
	var remote *fleet.RemoteError
	if errors.As(err, &remote) {
		fmt.Println(remote.Message)
	}
	// Output:
	// the disk is full
}

func ExampleGroup_Stats() {
	g, err := fleet.New[string](connect())
	if err != nil {
		fmt.Println(err)
		return
	}
	g.DoContext(context.Background(), "k", func(context.Context) (string, error) { return "v", nil })
	s := g.Stats()
	fmt.Println("loads:", s.Loads, "from elsewhere:", s.Received, "without the engine:", s.Fallbacks)
	// Output:
	// loads: 1 from elsewhere: 0 without the engine: 0
}
