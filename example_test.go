// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"bytes"
	"context"
	"errors"
	"expvar"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"time"

	"example.com/singleflight"
)

// A Group remembers nothing. When a flight has ended, the next call for the
// key does the work again.
func ExampleGroup() {
	var g singleflight.Group[string, int] // the zero value is ready

	n := 0
	count := func() (int, error) {
		n++
		return n, nil
	}
	first, _, _ := g.Do("count", count)
	second, _, _ := g.Do("count", count)
	fmt.Println(first, second)

	// Output:
	// 1 2
}

// Three callers share one load.
func ExampleGroup_Do() {
	var g singleflight.Group[string, int]
	load := func() (int, error) {
		for g.Stats().Joined < 2 { // a slow load, which the other callers join
			runtime.Gosched()
		}
		fmt.Println("loading")
		return 42, nil
	}

	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			v, err, shared := g.Do("answer", load)
			fmt.Println(v, err, shared)
		})
	}
	wg.Wait()

	// Output:
	// loading
	// 42 <nil> true
	// 42 <nil> true
	// 42 <nil> true
}

// An impatient caller leaves. The load goes on for the other caller, although
// the impatient one started it.
func ExampleGroup_DoContext() {
	var g singleflight.Group[string, int]
	left := make(chan struct{})
	load := func(ctx context.Context) (int, error) {
		<-left
		return 42, ctx.Err() // nil, because a caller still waits
	}

	impatient, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err, _ := g.DoContext(impatient, "answer", load)
		fmt.Println("impatient:", err)
		close(left)
	})
	for g.Stats().Executions < 1 { // until the impatient caller has started the load
		runtime.Gosched()
	}
	wg.Go(func() {
		v, err, _ := g.DoContext(context.Background(), "answer", load)
		fmt.Println("patient:", v, err)
	})
	for g.Stats().Joined < 1 { // until the patient caller has joined
		runtime.Gosched()
	}
	cancel()
	wg.Wait()

	// Output:
	// impatient: context canceled
	// patient: 42 <nil>
}

// When the last caller leaves, the load is canceled.
func ExampleGroup_DoContext_abandoned() {
	var g singleflight.Group[string, int]
	stopped := make(chan struct{})
	load := func(ctx context.Context) (int, error) {
		defer close(stopped)
		<-ctx.Done() // stands for a query that heeds its context
		fmt.Println("load:", ctx.Err())
		return 0, ctx.Err()
	}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err, _ := g.DoContext(ctx, "answer", load)
	<-stopped
	fmt.Println("caller:", err)

	// Output:
	// load: context canceled
	// caller: context deadline exceeded
}

// To stop waiting after a while, give DoContext a context with a timeout. The
// load is canceled if no other caller waits for it.
func ExampleGroup_DoContext_timeout() {
	var g singleflight.Group[string, int]
	load := func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	v, err, _ := g.DoContext(ctx, "answer", load)
	if errors.Is(err, context.DeadlineExceeded) {
		fmt.Println("not in time")
	} else {
		fmt.Println(v, err)
	}

	// Output:
	// not in time
}

// A caller of DoChan that stops waiting does not cancel the load. It can still
// receive the result later.
func ExampleGroup_DoChan() {
	var g singleflight.Group[string, int]
	release := make(chan struct{})
	load := func() (int, error) {
		<-release
		return 42, nil
	}

	result := g.DoChan("answer", load)
	select {
	case r := <-result:
		fmt.Println(r.Val, r.Err)
	case <-time.After(10 * time.Millisecond):
		fmt.Println("not in time")
	}

	close(release)
	r := <-result
	fmt.Println("later:", r.Val, r.Err)

	// Output:
	// not in time
	// later: 42 <nil>
}

// A channel receives ErrGoexit if fn called runtime.Goexit, so that its
// receiver does not wait forever.
func ExampleGroup_DoChan_errGoexit() {
	var g singleflight.Group[string, int]
	r := <-g.DoChan("answer", func() (int, error) {
		runtime.Goexit() // as t.FailNow does in a test
		return 42, nil
	})
	fmt.Println(r.Err == singleflight.ErrGoexit)

	// Output:
	// true
}

// Two loads run at once, and the caller waits for both of them.
func ExampleResult() {
	var g singleflight.Group[string, int]
	channels := []<-chan singleflight.Result[int]{
		g.DoChan("answer", func() (int, error) { return 42, nil }),
		g.DoChan("question", func() (int, error) { return 0, errors.New("unknown") }),
	}
	for _, ch := range channels {
		r := <-ch
		fmt.Println(r.Val, r.Err, r.Shared)
	}

	// Output:
	// 42 <nil> false
	// 0 unknown false
}

// After a change, Forget keeps later calls from joining a load that may not
// have seen it.
func ExampleGroup_Forget() {
	var g singleflight.Group[string, string]
	price := "1 euro"

	read, release := make(chan struct{}), make(chan struct{})
	early := g.DoChan("price", func() (string, error) {
		p := price
		close(read)
		<-release // the load takes a while after it has read the price
		return p, nil
	})
	<-read

	price = "2 euros"
	g.Forget("price")
	late, _, _ := g.Do("price", func() (string, error) { return price, nil })
	fmt.Println("a call after the change:", late)

	close(release)
	fmt.Println("the call before it:", (<-early).Val)

	// Output:
	// a call after the change: 2 euros
	// the call before it: 1 euro
}

// ForgetUnshared forgets a flight unless several callers share it.
func ExampleGroup_ForgetUnshared() {
	var g singleflight.Group[string, int]
	release := make(chan struct{})
	load := func() (int, error) {
		<-release
		return 42, nil
	}

	g.DoChan("answer", load)
	fmt.Println("one caller:", g.ForgetUnshared("answer"))

	g.DoChan("answer", load) // starts another flight
	g.DoChan("answer", load) // joins it
	fmt.Println("two callers:", g.ForgetUnshared("answer"))
	close(release)

	// Output:
	// one caller: true
	// two callers: false
}

// Of four calls for two keys, two start a flight and two join one.
func ExampleGroup_Stats() {
	var g singleflight.Group[string, int]
	release := make(chan struct{})
	load := func() (int, error) {
		<-release
		return 42, nil
	}

	var channels []<-chan singleflight.Result[int]
	for _, key := range []string{"a", "b", "b", "b"} {
		channels = append(channels, g.DoChan(key, load))
	}
	fmt.Printf("%+v\n", g.Stats())

	close(release)
	for _, ch := range channels {
		<-ch
	}
	fmt.Printf("%+v\n", g.Stats())

	// Output:
	// {Executions:2 Joined:2 Left:0 InFlight:2 Running:2}
	// {Executions:2 Joined:2 Left:0 InFlight:0 Running:0}
}

// A service publishes the Stats of a Group at /debug/vars, where its
// monitoring reads them.
func ExampleStats() {
	var users singleflight.Group[int, string]
	expvar.Publish("users", expvar.Func(func() any { return users.Stats() }))

	users.Do(1, func() (string, error) { return "Ada", nil })
	fmt.Println(expvar.Get("users"))

	// Output:
	// {"Executions":1,"Joined":0,"Left":0,"InFlight":0,"Running":0}
}

// A panic in fn reaches each caller, with its value and the stack of fn.
func ExamplePanicError() {
	var g singleflight.Group[string, int]
	defer func() {
		if p, ok := recover().(*singleflight.PanicError); ok {
			fmt.Println("value:", p.Value)
			fmt.Println("stack of fn:", bytes.HasPrefix(p.Stack, []byte("goroutine ")))
		}
	}()
	g.Do("answer", func() (int, error) { panic("no answer") })

	// Output:
	// value: no answer
	// stack of fn: true
}

// If fn panicked with an error, errors.Is and errors.As find it.
func ExamplePanicError_Unwrap() {
	var g singleflight.Group[string, int]
	defer func() {
		err, ok := recover().(error)
		fmt.Println(ok && errors.Is(err, http.ErrAbortHandler))
	}()
	g.Do("answer", func() (int, error) { panic(http.ErrAbortHandler) })

	// Output:
	// true
}

// A ShardedGroup has the same methods as a Group.
func ExampleShardedGroup() {
	var squares singleflight.ShardedGroup[int, int]

	var wg sync.WaitGroup
	for n := range 100 {
		wg.Go(func() {
			squares.Do(n, func() (int, error) { return n * n, nil })
		})
	}
	wg.Wait()
	v, err, shared := squares.Do(12, func() (int, error) { return 144, nil })
	fmt.Println(v, err, shared)
	fmt.Println("executions:", squares.Stats().Executions)

	// Output:
	// 144 <nil> false
	// executions: 101
}
