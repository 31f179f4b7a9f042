// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Command instructions counts the instructions of one call, which do not
// depend on how busy the machine is:
//
//	go run -C bench ./instructions [-run regexp]
//
// It runs itself under valgrind's callgrind (Debian's package valgrind), once
// for n calls and once for 2n, and divides the difference by n, so that what it
// takes to start a program is not counted. It prints the median of five such
// counts: where a call uses a map, they differ with the seed of the hash.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"example.com/singleflight"
	"example.com/singleflight/internal/floor"
	xsync "golang.org/x/sync/singleflight"
	resenje "resenje.org/singleflight"
)

type user struct {
	ID   int
	Name string
}

var (
	alice  = user{1, "alice"}
	load   = func() (user, error) { return alice, nil }
	loadTo = func(context.Context) (user, error) { return alice, nil }
)

// An empty cache has no value, and a full one has a value for every key.
type (
	empty struct{}
	full  struct{}
)

func (empty) Get(string) (user, bool) { return user{}, false }
func (empty) Set(string, user)        {}
func (empty) Delete(string)           {}

func (full) Get(string) (user, bool) { return alice, true }
func (full) Set(string, user)        {}
func (full) Delete(string)           {}

// A subject is a call to be counted: new returns a function that makes one call,
// and calls is the n of the package comment.
type subject struct {
	name  string
	calls int
	new   func() func()
}

// If a call starts a goroutine, fewer calls are made, because valgrind runs them slowly.
const (
	many = 20_000
	some = 5_000
)

func cancelable() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	_ = cancel // not called: the context lasts as long as the program
	return ctx
}

// up starts calls for n other keys, which do not end.
func up(n int, do func(key string, fn func() user)) {
	for i := range n {
		started := make(chan struct{})
		go do("other:"+strconv.Itoa(i), func() user { close(started); select {} })
		<-started
	}
}

func groupWith(others int) func() func() {
	return func() func() {
		var g singleflight.Group[string, user]
		up(others, func(key string, fn func() user) { g.Do(key, func() (user, error) { return fn(), nil }) })
		return func() { g.Do("user:42", load) }
	}
}

func floorWith(others int) func() func() {
	return func() func() {
		g := floor.New[string, user]()
		up(others, func(key string, fn func() user) { g.Do(key, func() (user, error) { return fn(), nil }) })
		return func() { g.Do("user:42", load) }
	}
}

var subjects = []subject{
	{"floor", many, floorWith(0)},
	{"Group.Do", many, groupWith(0)},
	{"x/sync's Do", many, func() func() {
		var g xsync.Group
		return func() { g.Do("user:42", func() (any, error) { return load() }) }
	}},
	{"ShardedGroup.Do", many, func() func() {
		var g singleflight.ShardedGroup[string, user]
		return func() { g.Do("user:42", load) }
	}},
	{"Group.DoContext(Background)", many, func() func() {
		var g singleflight.Group[string, user]
		return func() { g.DoContext(context.Background(), "user:42", loadTo) }
	}},
	{"floor, 2 others up", many, floorWith(2)},
	{"Group.Do, 2 others up", many, groupWith(2)},
	{"floor, 7 others up", many, floorWith(7)},
	{"Group.Do, 7 others up", many, groupWith(7)},
	{"floor, 8 others up", many, floorWith(8)},
	{"Group.Do, 8 others up", many, groupWith(8)},
	{"floor, 1,000 others up", many, floorWith(1000)},
	{"Group.Do, 1,000 others up", many, groupWith(1000)},
	{"Group.DoChan", some, func() func() {
		var g singleflight.Group[string, user]
		return func() { <-g.DoChan("user:42", load) }
	}},
	{"x/sync's DoChan", some, func() func() {
		var g xsync.Group
		return func() { <-g.DoChan("user:42", func() (any, error) { return load() }) }
	}},
	{"Group.DoContext", some, func() func() {
		var g singleflight.Group[string, user]
		ctx := cancelable()
		return func() { g.DoContext(ctx, "user:42", loadTo) }
	}},
	{"Group.Fill, a miss", some, func() func() {
		var g singleflight.Group[string, user]
		ctx := cancelable()
		return func() { g.Fill(ctx, empty{}, "user:42", loadTo) }
	}},
	{"Group.Fill, a hit", many, func() func() {
		var g singleflight.Group[string, user]
		ctx := cancelable()
		return func() { g.Fill(ctx, full{}, "user:42", loadTo) }
	}},
	{"resenje's Do", some, func() func() {
		var g resenje.Group[string, user]
		ctx := cancelable()
		return func() { g.Do(ctx, "user:42", loadTo) }
	}},
}

func main() {
	run := flag.String("run", "", "count only what this regular expression matches")
	one := flag.Int("one", -1, "make -calls calls of this subject, and count nothing")
	calls := flag.Int("calls", 0, "how many calls -one makes")
	flag.Parse()
	if *one >= 0 {
		makeCalls(subjects[*one], *calls)
		return
	}
	if err := table(*run); err != nil {
		fmt.Fprintln(os.Stderr, "instructions:", err)
		os.Exit(1)
	}
}

func makeCalls(s subject, n int) {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1)
	call := s.new()
	for range n {
		call()
	}
}

func table(run string) error {
	wanted, err := regexp.Compile(run)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s %s/%s\tinstructions a call\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for i, s := range subjects {
		if !wanted.MatchString(s.name) {
			continue
		}
		var counts []int
		for range 5 {
			once, err := count(i, s.calls)
			if err != nil {
				return err
			}
			twice, err := count(i, 2*s.calls)
			if err != nil {
				return err
			}
			counts = append(counts, (twice-once)/s.calls)
		}
		slices.Sort(counts)
		fmt.Fprintf(w, "%s\t%d\n", s.name, counts[len(counts)/2])
	}
	return w.Flush()
}

var collected = regexp.MustCompile(`Collected : (\d+)`)

// count returns the number of instructions of a program that makes n calls of
// subject i.
func count(i, n int) (int, error) {
	exe, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
		exe, "-one", strconv.Itoa(i), "-calls", strconv.Itoa(n))
	// The signals by which the runtime preempts goroutines disturb valgrind.
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, strings.TrimSpace(string(out)))
	}
	match := collected.FindSubmatch(out)
	if match == nil {
		return 0, fmt.Errorf("valgrind printed no count:\n%s", out)
	}
	return strconv.Atoi(string(match[1]))
}
