// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet_test

import (
	"bytes"
	"context"
	"encoding/gob"
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

// A report takes an hour to build, so it should not be built a second time
// because a process was stopped for a minute. When the process that builds it
// dies, another one takes over within two minutes and a second.
func ExampleNew() {
	reports, err := fleet.New[string](connect(), fleet.Lease(2*time.Minute), fleet.Linger(10*time.Second))
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err, _ := reports.DoContext(context.Background(), "sales", func(context.Context) (string, error) {
		return "42 boats", nil
	})
	fmt.Println(report, err)

	_, err = fleet.New[string](connect(), fleet.Lease(2*time.Second), fleet.EngineTimeout(time.Second))
	fmt.Println(err)
	// Output:
	// 42 boats <nil>
	// fleet: the fake engine: EngineTimeout(1s) with Lease(2s): want at most a quarter of the lease, so that a renewal can be tried again in time
}

// gobs encodes values as encoding/gob does, for types that JSON cannot encode.
type gobs struct{}

func (gobs) Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}

func (gobs) Unmarshal(data []byte, v any) error {
	return gob.NewDecoder(bytes.NewReader(data)).Decode(v)
}

// Roots are complex numbers, which gob can encode and JSON cannot.
func ExampleEncoding() {
	here, err1 := fleet.New[[]complex128](connect(), fleet.Encoding(gobs{}))
	there, err2 := fleet.New[[]complex128](connect(), fleet.Encoding(gobs{}))
	if err := errors.Join(err1, err2); err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	running := make(chan bool)
	end := make(chan bool)
	go there.DoContext(ctx, "x²+1", func(context.Context) ([]complex128, error) {
		close(running)
		<-end
		return []complex128{1i, complex(0, -1)}, nil
	})
	<-running
	time.AfterFunc(100*time.Millisecond, func() { close(end) })

	roots, err, _ := here.DoContext(ctx, "x²+1", func(context.Context) ([]complex128, error) {
		return nil, errors.New("not called")
	})
	fmt.Println(roots, err)
	// Output:
	// [(0+1i) (0-1i)] <nil>
}

// An API that allows few calls must not be called by each process when the
// engine is down.
func ExampleRequireEngine() {
	e := exampleStore.Connect()
	quotes, err := fleet.New[string](e, fleet.RequireEngine())
	if err != nil {
		fmt.Println(err)
		return
	}
	e.Close() // as if the engine were down

	_, err, _ = quotes.DoContext(context.Background(), "ACME", func(context.Context) (string, error) {
		fmt.Println("calling the API")
		return "41.20", nil
	})
	if errors.Is(err, fleet.ErrUnavailable) {
		fmt.Println("try again later")
	}
	// Output:
	// try again later
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
