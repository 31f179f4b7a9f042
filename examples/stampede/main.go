// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Stampede shows the load that one expired cache entry puts on a database, with
// and without a singleflight.Group in between.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"golang.org/x/term"

	"example.com/singleflight/examples/internal/draw"
)

// maxCallers goroutines take about 600 MB while they wait.
const maxCallers = 100_000

type options struct {
	callers int
	window  time.Duration
	picture string
	json    bool
}

// A report is what is printed and drawn.
type report struct {
	Callers int  `json:"callers"`
	Without half `json:"without"`
	With    half `json:"with"`

	window time.Duration
	alone  time.Duration // how long a query takes when nothing else runs
}

func main() {
	opt, err := parse(os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		exit(2, err)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once

	// Create it now, so that an error is reported before the work is done.
	var pic *draw.File
	if opt.picture != "" {
		if pic, err = draw.Create(opt.picture); err != nil {
			exit(2, err)
		}
	}
	err = run(ctx, opt, pic)
	switch {
	case err != nil && ctx.Err() != nil:
		exit(130, context.Cause(ctx))
	case err != nil:
		exit(1, err)
	}
}

func exit(status int, err error) {
	fmt.Fprintln(os.Stderr, "stampede:", err)
	os.Exit(status)
}

func parse(args []string, help io.Writer) (opt options, err error) {
	f := flag.NewFlagSet("stampede", flag.ContinueOnError)
	f.IntVar(&opt.callers, "callers", 10_000, "how `many` callers ask for the key")
	f.DurationVar(&opt.window, "window", 0, "spread their arrivals over this long (default all at once)")
	f.StringVar(&opt.picture, "o", "", "draw the run in this SVG `file`")
	f.BoolVar(&opt.json, "json", false, "print one JSON object instead of the table")

	f.SetOutput(io.Discard) // report an error in one line, without the usage
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(help, "usage: stampede [-callers n] [-window duration] [-o file.svg] [-json]")
			f.SetOutput(help)
			f.PrintDefaults()
		}
		return opt, err
	}
	switch {
	case f.NArg() > 0:
		return opt, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case opt.callers < 1 || opt.callers > maxCallers:
		return opt, fmt.Errorf("-callers %d: want 1 to %d", opt.callers, maxCallers)
	case opt.window < 0:
		return opt, fmt.Errorf("-window %v: want 0 or more", opt.window)
	}
	return opt, nil
}

func run(ctx context.Context, opt options, pic *draw.File) error {
	if pic != nil {
		defer pic.Discard()
	}
	r, err := compare(ctx, opt)
	if err != nil {
		return err
	}
	if pic != nil {
		if err := render(pic, r); err != nil {
			return err
		}
		if err := pic.Commit(); err != nil {
			return err
		}
	}
	// Print last, when there is nothing left to remove: if the reader of the
	// output has gone, as in "stampede | true", the program ends here.
	if opt.json {
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	return r.print(os.Stdout)
}

// compare runs the same callers without and with a Group.
func compare(ctx context.Context, opt options) (r report, err error) {
	st, err := newStore(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, st.close()) }()

	k := key{"Bergen", time.March}
	s := stampede{opt.callers, opt.window, k, truth(k)}
	r = report{Callers: opt.callers, window: opt.window}
	if r.alone, err = alone(ctx, st, k); err != nil {
		return r, err
	}
	for _, way := range []struct {
		name string
		load func(*cache, load) load
		into *half
	}{
		{"without", without, &r.Without},
		{"with", with, &r.With},
	} {
		before := st.queries.Load()
		queries := func() int64 { return st.queries.Load() - before }
		stop := func() {}
		if terminal() {
			stop = progress(os.Stderr, func() string {
				return fmt.Sprintf("%s: %s for %s", way.name, count(int(queries()), "query"), count(opt.callers, "caller"))
			})
		}
		var c cache
		callers, err := s.run(ctx, &c, way.load(&c, st.query))
		stop()
		if err != nil {
			return r, err
		}
		*way.into = measure(callers, queries())
	}
	return r, nil
}

// alone returns how long a query takes when nothing else runs: the best of ten.
func alone(ctx context.Context, st *store, k key) (time.Duration, error) {
	best := time.Duration(math.MaxInt64)
	for range 10 {
		a, err := st.query(ctx, k)
		if err != nil {
			return 0, err
		}
		best = min(best, a.ended.Sub(a.began))
	}
	return best, nil
}

func terminal() bool {
	return term.IsTerminal(int(os.Stdout.Fd())) && term.IsTerminal(int(os.Stderr.Fd()))
}

// progress writes line to the terminal w, again and again, until stop is called.
func progress(w io.Writer, line func() string) (stop func()) {
	const home, erase = "\r", "\x1b[K"
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprint(w, home, line(), erase)
			case <-done:
				fmt.Fprint(w, home, erase)
				return
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

func (r report) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s missed the cache on one key, and came ", count(r.Callers, "caller"))
	if r.window > 0 {
		fmt.Fprintf(&b, "within %v.\n", r.window)
	} else {
		fmt.Fprintf(&b, "all at once.\n")
	}
	fmt.Fprintf(&b, "The database has %d connections. A query takes %v when nothing else runs.\n\n", conns, draw.Short(r.alone))

	t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', tabwriter.AlignRight)
	row := func(name string, without, with any) { fmt.Fprintf(t, "%-22s\t%v\t%v\t\n", name, without, with) }
	row("", "without", "with a Group")
	row("queries run", humanize.Comma(r.Without.Queries), humanize.Comma(r.With.Queries))
	if r.window > 0 { // otherwise the last answer is that of the slowest caller
		row("last caller answered", draw.Short(r.Without.Wall), draw.Short(r.With.Wall))
	}
	row("slowest caller", draw.Short(r.Without.Slowest), draw.Short(r.With.Slowest))
	row("median caller", draw.Short(r.Without.Median), draw.Short(r.With.Median))
	row("queries saved", "", humanize.Comma(r.Without.Queries-r.With.Queries))
	t.Flush()
	if r.Callers >= 1000 && r.window == 0 && r.With.Slowest > r.alone {
		fmt.Fprintf(&b, "\nWith a Group, a caller waits longer than for a query alone: all of them come at once,\nand take turns on %s.\n",
			count(runtime.GOMAXPROCS(0), "processor"))
	}

	_, err := io.WriteString(w, b.String())
	return err
}

// count returns n and the thing counted, such as "1,000 queries".
func count(n int, thing string) string {
	return humanize.Comma(int64(n)) + " " + english.PluralWord(n, thing, "")
}
