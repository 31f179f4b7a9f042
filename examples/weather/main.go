// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Weather is a small HTTP service with a database behind a cache, and a
// singleflight.Group between the two.
//
// Read server.go first. The two caches are in cache.go and redis.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"example.com/singleflight"
)

type options struct {
	addr, db, redis  string
	ttl, slow, grace time.Duration
}

func parse(args []string, help io.Writer) (opt options, err error) {
	f := flag.NewFlagSet("weather", flag.ContinueOnError)
	f.StringVar(&opt.addr, "addr", "127.0.0.1:8080", "`address` to listen on")
	f.StringVar(&opt.db, "db", "", "`path` of the SQLite database (default a temporary file)")
	f.StringVar(&opt.redis, "redis", "", "`address` of a Redis to cache in (default this process's memory)")
	f.DurationVar(&opt.ttl, "ttl", time.Minute, "how long a reading is kept in the cache")
	f.DurationVar(&opt.slow, "slow", 0, "added to each query")
	f.DurationVar(&opt.grace, "grace", 10*time.Second, "how long requests may take to end on SIGINT and SIGTERM")

	f.SetOutput(io.Discard) // report an error in one line, without the usage
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(help, "usage: weather [flags]")
			f.SetOutput(help)
			f.PrintDefaults()
		}
		return opt, err
	}
	switch {
	case f.NArg() > 0:
		return opt, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case opt.ttl < time.Millisecond:
		return opt, fmt.Errorf("-ttl %v: want 1ms or more", opt.ttl)
	case opt.slow < 0 || opt.slow >= queryLimit:
		return opt, fmt.Errorf("-slow %v: want less than %v, which is the time limit of a query", opt.slow, queryLimit)
	}
	return opt, nil
}

func main() {
	opt, err := parse(os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "weather:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(ctx, opt, log, os.Stdout); err != nil {
		log.Error("weather", "err", err)
		os.Exit(1)
	}
}

// run serves until ctx is done. Then it stops accepting requests, waits for
// those that are being served, ends the loads, and closes the database.
func run(ctx context.Context, opt options, log *slog.Logger, out io.Writer) (err error) {
	if opt.db == "" {
		dir, err := os.MkdirTemp("", "weather-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		opt.db = filepath.Join(dir, "weather.db")
	}
	st, err := openStore(ctx, opt.db, opt.slow)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()

	var memory singleflight.Cache[key, answer] = newMemory(opt.ttl)
	var shared sharedCache
	if opt.redis != "" {
		c := newRedisCache(opt.redis, opt.ttl, log)
		defer c.client.Close()
		memory, shared = nothing{}, c
	}
	s := newServer(st, memory, shared, log)

	ln, err := net.Listen("tcp", opt.addr)
	if err != nil {
		return err
	}
	srv := httpServer(s, log)
	fmt.Fprintf(out, "listening on http://%s\n", ln.Addr())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}

	bound, cancel := context.WithTimeout(context.Background(), opt.grace)
	defer cancel()
	err = errors.Join(srv.Shutdown(bound), srv.Close(), s.stop(bound))
	log.Info("stopped", "running", s.flights.Stats().Running)
	return err
}

// httpServer sets no WriteTimeout, because that would include the wait for a load.
func httpServer(s *server, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:        s.routes(),
		ReadTimeout:    5 * time.Second,
		IdleTimeout:    time.Minute,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
