// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/singleflight/fleet/natskv"
)

const patience = time.Minute // for the whole run

// race starts the engine and the processes, has them all call at once, and
// returns what happened. All that it started has ended when it returns.
func race(ctx context.Context, opt options) (r report, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not done within %v", patience))
	defer cancel()
	dir, err := os.MkdirTemp("", "fleet-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	st, err := openStore(dir)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	if err := st.fill(ctx); err != nil {
		return r, err
	}
	// Measure how long a load takes here, with the query for another shop.
	began := time.Now()
	if _, err := st.query(ctx, shops[0]); err != nil {
		return r, err
	}
	midLoad := time.Since(began) / 3
	o := orders{Callers: opt.callers, Dir: dir, Redis: opt.redis}
	if opt.redis == "" {
		engine, err := startEngine(ctx, filepath.Join(dir, "nats"))
		if err != nil {
			return r, err
		}
		defer func() {
			engine.Shutdown()
			engine.WaitForShutdown()
		}()
		o.NATS = engine.ClientURL()
	}

	h := &herd{said: make(chan said)}
	defer h.end()
	for i := range opt.processes {
		o.Process = i
		if err := h.start(ctx, o); err != nil {
			return r, err
		}
	}
	if r, err = h.watch(ctx, opt, midLoad); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return r, err
	}
	loads, err := st.loads(ctx, opt.processes)
	if err != nil {
		return r, err
	}
	for i, n := range loads {
		r.Each[i].Loads = n
		r.Loads += n
	}
	return r, nil
}

// startEngine starts a NATS server with a bucket for the fleet.
func startEngine(ctx context.Context, dir string) (s *server.Server, err error) {
	s, err = server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT,
		JetStream: true, StoreDir: dir,
		NoSigs: true, NoLog: true,
	})
	if err != nil {
		return nil, err
	}
	s.Start()
	defer func() {
		if err != nil {
			s.Shutdown()
		}
	}()
	if !s.ReadyForConnections(10 * time.Second) {
		return nil, errors.New("the NATS server does not start")
	}
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return s, natskv.CreateBucket(ctx, js, jetstream.KeyValueConfig{Bucket: bucket})
}

// A herd is the processes that were started.
type herd struct {
	cmds []*exec.Cmd
	ins  []io.Closer
	gos  []io.Writer
	said chan said
	wg   sync.WaitGroup
}

// said is a message of a process; nil when the process has ended.
type said struct {
	process int
	message *message
}

func (h *herd) start(ctx context.Context, o orders) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), workerEnv+"="+string(raw))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	h.cmds, h.ins, h.gos = append(h.cmds, cmd), append(h.ins, in), append(h.gos, in)
	h.wg.Go(func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var m message
			if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
				m = message{Error: fmt.Sprintf("unexpected output %q", lines.Text())}
			}
			h.said <- said{o.Process, &m}
		}
		cmd.Wait()
		h.said <- said{o.Process, nil}
	})
	return nil
}

// end closes the standard input of the processes, which makes them end, and
// waits until they have.
func (h *herd) end() {
	for _, in := range h.ins {
		in.Close()
	}
	done := make(chan struct{})
	go func() {
		h.wg.Wait()
		close(done)
	}()
	grace := time.AfterFunc(5*time.Second, func() {
		for _, cmd := range h.cmds {
			cmd.Process.Kill()
		}
	})
	defer grace.Stop()
	for {
		select {
		case <-h.said:
		case <-done:
			return
		}
	}
}

// watch gives the signal when all processes are ready, and returns when all
// callers, except those in a killed process, have their answers. With opt.kill it
// kills the first process that loads, midLoad after its load has begun.
func (h *herd) watch(ctx context.Context, opt options, midLoad time.Duration) (r report, err error) {
	n := len(h.cmds)
	r = report{Processes: n, Callers: n * opt.callers, Each: make([]process, n), victim: -1, heir: -1}
	for i := range r.Each {
		r.Each[i].Callers = opt.callers
	}
	var (
		ready, answered int
		messages        = make([]struct{ load, all message }, n)
		kill            <-chan time.Time
		killed          time.Time
	)
	for answered < n {
		var s said
		select {
		case s = <-h.said:
		case <-kill:
			killed = time.Now()
			h.cmds[r.victim].Process.Kill()
			continue
		case <-ctx.Done():
			return r, context.Cause(ctx)
		}
		m := s.message
		switch mine := &messages[s.process]; {
		case m == nil && s.process == r.victim && !killed.IsZero():
			r.Each[s.process].Killed = true
			answered++
		case m == nil:
			return r, fmt.Errorf("process %d ended too early", s.process+1)
		case m.Error != "":
			return r, fmt.Errorf("process %d: %s", s.process+1, m.Error)
		case m.Ready:
			if ready++; ready < n {
				break
			}
			for _, w := range h.gos {
				if _, err := io.WriteString(w, "\n"); err != nil {
					return r, err
				}
			}
		case !m.Began.IsZero():
			mine.load.Began = m.Began
			switch {
			case opt.kill && r.victim < 0:
				r.victim = s.process
				kill = time.After(midLoad)
			case !killed.IsZero():
				r.heir = s.process
			}
		case !m.Ended.IsZero():
			mine.load.Ended = m.Ended
		default:
			mine.all = *m
			answered++
		}
	}
	if opt.kill && r.heir < 0 {
		return r, errors.New("the load was over before its process could be killed")
	}

	var start time.Time
	for _, m := range messages {
		if t := m.all.Came; !t.IsZero() && (start.IsZero() || t.Before(start)) {
			start = t
		}
	}
	since := func(t time.Time) time.Duration { return max(0, t.Sub(start)) }
	for i, m := range messages {
		p := &r.Each[i]
		if p.Killed {
			r.Killed = since(killed)
			p.first, p.last = r.Killed, r.Killed
		} else {
			p.came, p.first, p.last, p.Slowest = since(m.all.Came), since(m.all.First), since(m.all.Last), m.all.Slowest
			r.Slowest = max(r.Slowest, p.Slowest)
		}
		if !m.load.Began.IsZero() {
			p.load = &span{since(m.load.Began), since(m.load.Ended)}
			if p.Killed {
				p.load.ended = r.Killed
			}
		}
	}
	return r, nil
}
