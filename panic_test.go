// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/singleflight"
)

// This file is about the ways in which fn can fail.

// The matrix: each way in which fn can end, and each kind of caller.

var errReturned = &singleflight.PanicError{Value: "returned, not panicked with"}

// An ending is a way for fn to end.
type ending struct {
	name string
	fn   func() (int, error)

	v      int
	err    error
	panics bool // and with value
	value  any
	exits  bool
}

var endings = []ending{
	{name: "returns", fn: value(42), v: 42},
	{name: "returns an error", fn: func() (int, error) { return 7, errBroken }, v: 7, err: errBroken},
	{name: "returns a PanicError", fn: func() (int, error) { return 7, errReturned }, v: 7, err: errReturned},
	{name: "returns ErrGoexit", fn: func() (int, error) { return 7, singleflight.ErrGoexit }, v: 7, err: singleflight.ErrGoexit},
	{name: "recovers inside", fn: recoversInside, err: errBroken},
	{name: "panics with a value", fn: explodes("boom"), panics: true, value: "boom"},
	{name: "panics with an error", fn: explodes(errBroken), panics: true, value: errBroken},
	{name: "panics with nil", fn: explodes(nil), panics: true, value: new(runtime.PanicNilError)},
	{name: "panics in a deferred call", fn: explodesLate, panics: true, value: "late"},
	{name: "panics on its way out of Goexit", fn: explodesInGoexit, panics: true, value: "in Goexit"},
	{name: "calls Goexit", fn: func() (int, error) { runtime.Goexit(); return 0, nil }, exits: true},
	{name: "calls Goexit on its way out of a panic", fn: goexitInPanic, exits: true},
}

func explodesLate() (int, error) {
	defer explode("late")
	return 42, nil
}

func explodesInGoexit() (int, error) {
	defer explode("in Goexit")
	runtime.Goexit()
	return 42, nil
}

func goexitInPanic() (int, error) {
	defer runtime.Goexit()
	panic("lost")
}

func recoversInside() (v int, err error) {
	defer func() {
		recover()
		v, err = 0, errBroken
	}()
	panic("recovered inside fn")
}

// A cast lists the calls that take part in a flight. The first of them starts
// it. If the last is "leaves", all callers leave before fn ends.
type cast []string

var casts = []cast{
	{"Do"},
	{"Do", "Do", "Do"},
	{"Do", "DoContext", "Background"},
	{"Do", "DoChan"},
	{"DoChan"},
	{"DoChan", "Do", "DoContext", "Background", "DoChan"},
	{"DoContext"},
	{"DoContext", "DoContext", "Do", "Background"},
	{"DoContext", "DoChan", "Do"},
	{"Background"},
	{"Background", "DoContext", "Do", "Background"},
	{"Background", "DoChan"},
	{"Fill"},
	{"Fill", "Fill", "DoContext", "Do", "Background"},
	{"Do", "Fill"},
	{"DoContext", "Fill", "Fill Background"},
	{"Fill", "DoChan"},
	{"Fill Background"},
	{"Fill Background", "Fill", "DoContext", "Do"},
	{"Fill Background", "DoChan"},
	{"DoContext", "leaves"},
	{"Fill", "leaves"},
	{"Fill", "DoContext", "Fill", "leaves"},
	{"DoContext", "DoContext", "leaves"},
}

func (c cast) allLeave() bool { return slices.Contains(c, "leaves") }

// crashes reports whether a panic in fn crashes the program, because it cannot
// reach a channel or has no caller left to reach.
func (c cast) crashes() bool { return slices.Contains(c, "DoChan") || c.allLeave() }

// play makes the calls of the cast one after the other. After each of them it
// calls joined, which waits until the call has started or joined the flight.
func (c cast) play(ctx context.Context, g group[string, int], fn func() (int, error), joined func()) []*caller[int] {
	var callers []*caller[int]
	cache := nothing[string, int]{}
	for _, kind := range c {
		switch kind {
		case "Do":
			callers = append(callers, startDo(g, "k", fn))
		case "DoChan":
			callers = append(callers, receive(g.DoChan("k", fn)))
		case "DoContext":
			callers = append(callers, startContext(ctx, g, "k", withCtx(fn)))
		case "Background":
			callers = append(callers, startContext(context.Background(), g, "k", withCtx(fn)))
		case "Fill":
			callers = append(callers, startFill(ctx, g, cache, "k", withCtx(fn)))
		case "Fill Background":
			callers = append(callers, startFill(context.Background(), g, cache, "k", withCtx(fn)))
		}
		joined()
		fn = nil
	}
	return callers
}

func TestEveryEndingReachesEveryCaller(t *testing.T) {
	for _, e := range endings {
		for _, c := range casts {
			name := fmt.Sprintf("%s/%s", e.name, strings.Join(c, ","))
			if e.panics && c.crashes() {
				t.Run(name, func(t *testing.T) { testCrash(t, e, c) })
			} else {
				t.Run(name, func(t *testing.T) { testEnding(t, e, c) })
			}
		}
	}
}

func testEnding(t *testing.T, e ending, c cast) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		release := make(chan struct{})
		callers := c.play(ctx, g, func() (int, error) { <-release; return e.fn() }, synctest.Wait)
		if c.allLeave() {
			cancel()
			synctest.Wait()
		}
		close(release)
		synctest.Wait()

		var panicked *singleflight.PanicError
		for i, got := range callers {
			kind := c[i]
			switch {
			case c.allLeave():
				got.want(t, kind, 0, context.Canceled, false)
			case e.exits && kind == "DoChan":
				got.want(t, kind, 0, singleflight.ErrGoexit, len(callers) > 1)
			case e.exits:
				if !got.over.Load() || !got.exited {
					t.Errorf("%s = %v, %v (panic %v), want Goexit", kind, got.v, got.err, got.panic)
				}
			case e.panics:
				p, ok := got.panic.(*singleflight.PanicError)
				if !ok {
					t.Fatalf("%s: got panic %v (ended %v), want a *PanicError", kind, got.panic, got.over.Load())
				}
				if panicked == nil {
					panicked = p
				}
				if p != panicked {
					t.Errorf("%s panicked with another *PanicError than %s, want the same", kind, c[0])
				}
			default:
				got.want(t, kind, e.v, e.err, len(callers) > 1)
			}
		}
		if panicked != nil {
			if !reflect.DeepEqual(panicked.Value, e.value) {
				t.Errorf("PanicError.Value = %#v, want %#v", panicked.Value, e.value)
			}
			if !strings.Contains(string(panicked.Stack), "singleflight_test.explode(") {
				t.Errorf("PanicError.Stack has no explode, want the function that panicked:\n%s", panicked.Stack)
			}
		}

		// The key is free, and nothing runs.
		idle(t, g)
		if v, err, shared := g.Do("k", value(1)); v != 1 || err != nil || shared {
			t.Errorf("Do afterwards = %v, %v, %v, want 1, nil, false", v, err, shared)
		}
	})
}

// Crashes.

// With this variable in its environment, the binary of the tests runs one of
// the programs below, most of which have to crash.
const crashEnv = "SINGLEFLIGHT_TEST_PROGRAM"

// run runs a program in a process of its own, and returns its exit status and
// output.
func run(t *testing.T, program string, env ...string) (status int, output string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(append(os.Environ(), "GOTRACEBACK=single", crashEnv+"="+program), env...)
	out, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// testCrash runs a cell of the matrix that must crash in a process of its
// own. Each caller that is woken there calls os.Exit(0), and the crash must
// come first.
func testCrash(t *testing.T, e ending, c cast) {
	for _, sharded := range []string{"Group", "ShardedGroup"} {
		status, output := run(t, strings.Join([]string{"matrix", sharded, e.name, strings.Join(c, ",")}, "/"))
		if status != 2 {
			t.Errorf("%s: got exit status %d, want 2; output:\n%s", sharded, status, output)
		}
		if !strings.Contains(output, "panic: ") || !strings.Contains(output, "singleflight_test.explode(") {
			t.Errorf("%s: got a trace without explode, want the function that panicked:\n%s", sharded, output)
		}
	}
}

// program runs in such a process, called by TestMain.
func program(name string) {
	switch part := strings.Split(name, "/"); part[0] {
	case "matrix":
		var g group[string, int] = new(singleflight.Group[string, int])
		if part[1] == "ShardedGroup" {
			g = new(singleflight.ShardedGroup[string, int])
		}
		i := slices.IndexFunc(endings, func(e ending) bool { return e.name == part[2] })
		ctx, cancel := context.WithCancel(context.Background())
		crashMatrix(ctx, cancel, g, endings[i], strings.Split(part[3], ","))
	case "panicnil":
		panicNil()
	case "slow":
		slowCrash()
	default:
		panic("no such program: " + name)
	}
}

func crashMatrix(ctx context.Context, cancel context.CancelFunc, g group[string, int], e ending, c cast) {
	release := make(chan struct{})
	calls := uint64(0)
	callers := c.play(ctx, g, func() (int, error) { <-release; return e.fn() }, func() {
		calls++
		if calls <= uint64(len(c)) && c[calls-1] == "leaves" {
			return
		}
		until(func() bool { s := g.Stats(); return s.Executions+s.Joined == calls })
	})
	if c.allLeave() {
		cancel()
		until(func() bool { return g.Stats().Left == uint64(len(callers)) })
	} else {
		for _, caller := range callers {
			go func() {
				until(caller.over.Load)
				os.Exit(0)
			}()
		}
	}
	close(release)
	time.Sleep(10 * time.Second) // the process crashes here
	fmt.Println("nothing crashed")
	os.Exit(0)
}

// If a waiter were woken before the crash, it could exit first now and then.
func TestNobodyIsWokenBeforeACrash(t *testing.T) {
	i := slices.IndexFunc(endings, func(e ending) bool { return e.name == "panics with a value" })
	for range pick(20, 3) {
		testCrash(t, endings[i], cast{"Do", "DoChan", "Do", "DoContext", "Background"})
		if t.Failed() {
			return
		}
	}
}

// Nobody is woken during the crash either, which takes as long as it takes to
// print the value. That goes also for a caller whose context is done
// meanwhile, and that finds the flight ended when it wants to leave.
func TestNobodyIsWokenDuringACrash(t *testing.T) {
	if status, output := run(t, "slow"); status != 2 || !strings.Contains(output, "slow to print") {
		t.Errorf("got exit status %d, want 2, and the value; output:\n%s", status, output)
	}
}

type slowToPrint struct{ cancel context.CancelFunc }

func (s slowToPrint) Error() string {
	s.cancel()
	// Real time, for a caller that is woken by mistake to exit. Nothing tells
	// when one that is not woken has had its chance.
	time.Sleep(200 * time.Millisecond)
	return "slow to print"
}

func slowCrash() {
	ctx, cancel := context.WithCancel(context.Background())
	e := ending{fn: explodes(slowToPrint{cancel})}
	crashMatrix(ctx, cancel, new(singleflight.Group[string, int]), e, cast{"Do", "DoChan", "DoContext", "Background"})
}

// Under GODEBUG=panicnil=1, recover returns nil for panic(nil), as it does for
// Goexit. The two are told apart nevertheless.
func TestPanicNilIsAPanicUnderGODEBUG(t *testing.T) {
	if status, output := run(t, "panicnil", "GODEBUG=panicnil=1"); status != 0 || output != "ok\n" {
		t.Errorf("got exit status %d, want 0; output:\n%s", status, output)
	}
	status, output := run(t, "matrix/Group/panics with nil/Do,DoChan", "GODEBUG=panicnil=1")
	if status != 2 || !strings.Contains(output, "singleflight_test.explode(") {
		t.Errorf("with a channel of DoChan: got exit status %d, want 2, and explode in the trace; output:\n%s", status, output)
	}
}

func panicNil() {
	func() {
		defer func() {
			if v := recover(); v != nil {
				fmt.Println("GODEBUG=panicnil=1 is not set:", v)
				os.Exit(1)
			}
		}()
		panic(nil)
	}()
	for _, c := range casts {
		if c.crashes() {
			continue
		}
		g := new(singleflight.Group[string, int])
		release := make(chan struct{})
		calls := uint64(0)
		callers := c.play(context.Background(), g, func() (int, error) { <-release; return explodes(nil)() }, func() {
			calls++
			until(func() bool { s := g.Stats(); return s.Executions+s.Joined == calls })
		})
		close(release)
		for i, caller := range callers {
			until(caller.over.Load)
			p, ok := caller.panic.(*singleflight.PanicError)
			if !ok || p.Value != nil || !strings.Contains(string(p.Stack), "singleflight_test.explode(") {
				fmt.Printf("%v: %s: got panic %v, Goexit %v, want a *PanicError with nil\n", c, c[i], caller.panic, caller.exited)
				os.Exit(1)
			}
		}
		if s := g.Stats(); s.InFlight != 0 || s.Running != 0 {
			fmt.Printf("%v: Stats() = %+v, want InFlight 0, Running 0\n", c, s)
			os.Exit(1)
		}
	}
	fmt.Println("ok")
}

// PanicError.

func TestPanicErrorUnwraps(t *testing.T) {
	both(t, func(t *testing.T, g group[string, int]) {
		panicWith := func(v any) (p *singleflight.PanicError) {
			defer func() { p = recover().(*singleflight.PanicError) }()
			g.Do("k", explodes(v))
			return nil
		}
		if err := error(panicWith(http.ErrAbortHandler)); !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("errors.Is(%v, http.ErrAbortHandler) = false, want true", err)
		}
		var pathErr *os.PathError
		if err := panicWith(fmt.Errorf("wrapped: %w", &os.PathError{Op: "open"})); !errors.As(err, &pathErr) || pathErr.Op != "open" {
			t.Errorf("errors.As(%v, *os.PathError) = false or another error, want the one that fn panicked with", err)
		}
		if err := panicWith("boom"); errors.Unwrap(err) != nil {
			t.Errorf("Unwrap of a PanicError with a string = %v, want nil", errors.Unwrap(err))
		}
	})
}

func TestPanicErrorTextHasValueAndStack(t *testing.T) {
	both(t, func(t *testing.T, g group[string, int]) {
		text := mustPanic(t, "Do", func() { g.Do("k", explodes("boom")) }).(error).Error()
		if !strings.HasPrefix(text, "boom\n\ngoroutine ") || !strings.Contains(text, "singleflight_test.explode(") {
			t.Errorf("Error() = %q, want the value, then the stack", text)
		}
	})
}

// A nil fn fails as a fn that panics does.
func TestNilFnPanics(t *testing.T) {
	both(t, func(t *testing.T, g group[string, int]) {
		cache := newCache[string, int]()
		for name, call := range map[string]func(){
			"Do":                    func() { g.Do("k", nil) },
			"DoContext":             func() { g.DoContext(t.Context(), "k", nil) },
			"DoContext(Background)": func() { g.DoContext(context.Background(), "k", nil) },
			"Fill":                  func() { g.Fill(t.Context(), cache, "k", nil) },
			"Fill(Background)":      func() { g.Fill(context.Background(), cache, "k", nil) },
		} {
			p, ok := mustPanic(t, name, call).(*singleflight.PanicError)
			if !ok {
				t.Fatalf("%s with a nil fn: got panic %v, want a *PanicError", name, p)
			}
			if _, ok := p.Value.(runtime.Error); !ok {
				t.Errorf("%s with a nil fn: got panic with %v, want a runtime.Error", name, p.Value)
			}
			idle(t, g)
		}
	})
}

// If fn calls Goexit, the deferred calls of the caller that runs it run. If
// fn also panics on the way out of Goexit, they can recover the panic.
func TestGoexitRunsTheCallersDeferredCalls(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		var deferred []any
		for _, fn := range []func() (int, error){func() (int, error) { runtime.Goexit(); return 0, nil }, explodesInGoexit} {
			go func() {
				defer func() { deferred = append(deferred, recover()) }()
				g.Do("k", fn)
				t.Error("Do returned, want Goexit or a panic")
			}()
			synctest.Wait()
		}
		if len(deferred) != 2 || deferred[0] != nil {
			t.Fatalf("Do: deferred calls recovered %v, want nil and a *PanicError", deferred)
		}
		if p, ok := deferred[1].(*singleflight.PanicError); !ok || p.Value != "in Goexit" {
			t.Errorf("Do: the deferred call recovered %v, want a *PanicError with in Goexit", deferred[1])
		}
	})
}
