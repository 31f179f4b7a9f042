// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Fleet starts four processes, each with a thousand callers for one cold key.
// Together they make one load. With -kill, the process that loads is killed, and
// another takes over.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"example.com/singleflight/examples/internal/draw"
)

const (
	maxProcesses = 16
	maxCallers   = 20_000 // in all
)

type options struct {
	processes, callers int
	kill               bool
	redis              string
	picture            string
	json               bool
}

func main() {
	if os.Getenv(workerEnv) != "" {
		work()
		return
	}
	opt, err := parse(os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		exit(2, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once

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
	fmt.Fprintln(os.Stderr, "fleet:", err)
	os.Exit(status)
}

func parse(args []string, help io.Writer) (opt options, err error) {
	f := flag.NewFlagSet("fleet", flag.ContinueOnError)
	f.IntVar(&opt.processes, "processes", 4, "the `number` of processes")
	f.IntVar(&opt.callers, "callers", 1000, "the `number` of callers in each process")
	f.BoolVar(&opt.kill, "kill", false, "kill the process that loads, during its load")
	f.StringVar(&opt.redis, "redis", "", "use the Redis server at this `address`, host:port, instead of starting a NATS server")
	f.StringVar(&opt.picture, "o", "", "draw what happened to this SVG `file`")
	f.BoolVar(&opt.json, "json", false, "print one JSON object instead of the table")

	f.SetOutput(io.Discard) // an error is one line, without the usage
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(help, "usage: fleet [-processes n] [-callers n] [-kill] [-redis host:port] [-o file.svg] [-json]")
			f.SetOutput(help)
			f.PrintDefaults()
		}
		return opt, err
	}
	switch {
	case f.NArg() > 0:
		return opt, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case opt.redis != "" && !isAddress(opt.redis):
		return opt, fmt.Errorf("-redis %q: want host:port", opt.redis)
	case opt.processes < 2 || opt.processes > maxProcesses:
		return opt, fmt.Errorf("-processes %d: want 2 to %d", opt.processes, maxProcesses)
	case opt.callers < 1 || opt.callers > maxCallers/opt.processes:
		return opt, fmt.Errorf("-callers %d: want 1 to %d in each of %d processes", opt.callers, maxCallers/opt.processes, opt.processes)
	}
	return opt, nil
}

func isAddress(s string) bool {
	_, _, err := net.SplitHostPort(s)
	return err == nil
}

func run(ctx context.Context, opt options, pic *draw.File) error {
	if pic != nil {
		defer pic.Discard()
	}
	r, err := race(ctx, opt)
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
	// Printed last, when all temporary files are gone.
	if opt.json {
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	return r.print(os.Stdout)
}

// A report is what is printed and drawn. Times count from the first call in any
// process.
type report struct {
	Processes int           `json:"processes"`
	Callers   int           `json:"callers"` // in all
	Loads     int           `json:"loads"`
	Slowest   time.Duration `json:"slowest_ns"` // of the callers in processes that were not killed
	Killed    time.Duration `json:"killed_ns,omitempty"`

	Each []process `json:"each"`

	victim, heir int // the process that was killed, and the one that took over; or -1
}

// A process is what happened in one process.
type process struct {
	Callers int           `json:"callers"`
	Loads   int           `json:"loads"`
	Slowest time.Duration `json:"slowest_ns"`
	Killed  bool          `json:"killed,omitempty"`

	came, first, last time.Duration // of the first call, and of the first and the last answer
	load              *span         // while fn ran; nil if it did not
}

type span struct{ began, ended time.Duration }

func (r report) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s processes with %s callers each ask for one cold key.\n\n",
		humanize.Comma(int64(r.Processes)), humanize.Comma(int64(r.Each[0].Callers)))
	t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "process\tcallers\tloads\tslowest\t\n")
	for i, p := range r.Each {
		slowest := draw.Short(p.Slowest).String()
		if p.Killed {
			slowest = "killed"
		}
		fmt.Fprintf(t, "%d\t%s\t%d\t%s\t\n", i+1, humanize.Comma(int64(p.Callers)), p.Loads, slowest)
	}
	fmt.Fprintf(t, "all\t%s\t%d\t%s\t\n", humanize.Comma(int64(r.Callers)), r.Loads, draw.Short(r.Slowest))
	t.Flush()
	if r.victim >= 0 {
		fmt.Fprintf(&b, "\nProcess %d was killed while it loaded. Process %d took over after %v; the lease is %v.\n",
			r.victim+1, r.heir+1, draw.Short(r.pause()), lease)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// pause returns the time from the kill to the next load.
func (r report) pause() time.Duration {
	return r.Each[r.heir].load.began - r.Killed
}
