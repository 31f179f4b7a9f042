// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/natskv"
	"example.com/singleflight/fleet/redis"
)

// A worker is another process of this program, with its orders in workerEnv. It
// reports on its standard output when it is ready, begins when it reads a line
// from its standard input, and ends when that is closed.
const workerEnv = "FLEET_WORKER"

const (
	bucket = "reports"
	shop   = "Bergen"

	// The lease is short, so that the takeover comes soon. A service whose
	// processes may pause for longer needs a longer one.
	lease   = 3 * time.Second
	timeout = lease / 4
)

type orders struct {
	Process, Callers int
	Dir              string

	// The engine is one of these.
	NATS  string // a URL
	Redis string // an address
}

// A message is what a worker reports. Its times are of the wall clock, which all
// processes share.
type message struct {
	Ready bool `json:",omitempty"`

	// A load has begun, or ended.
	Began, Ended time.Time `json:",omitzero"`

	// All callers have their answers.
	Came, First, Last time.Time     `json:",omitzero"`
	Slowest           time.Duration `json:",omitempty"`

	Error string `json:",omitempty"`
}

func work() {
	var o orders
	err := json.Unmarshal([]byte(os.Getenv(workerEnv)), &o)
	if err == nil {
		err = o.follow(context.Background())
	}
	if err != nil {
		tell(message{Error: err.Error()})
		os.Exit(1)
	}
}

func tell(m message) {
	line, err := json.Marshal(m)
	if err == nil {
		_, err = os.Stdout.Write(append(line, '\n'))
	}
	if err != nil {
		os.Exit(1) // the parent process has ended
	}
}

func (o orders) follow(ctx context.Context) error {
	st, err := openStore(o.Dir)
	if err != nil {
		return err
	}
	defer st.close()
	reports, leave, err := o.join(ctx)
	if err != nil {
		return err
	}
	defer leave()

	tell(message{Ready: true})
	line := make([]byte, 1)
	if _, err := os.Stdin.Read(line); err != nil {
		return errors.New("the parent process gave no signal")
	}
	m, err := o.ask(ctx, reports, st)
	if err != nil {
		return err
	}
	tell(m)
	os.Stdin.Read(line) // returns when the other processes are done too
	return nil
}

// join returns a Group on the engine, and a function that closes its connection.
func (o orders) join(ctx context.Context) (reports *fleet.Group[answer], leave func(), err error) {
	if o.Redis != "" {
		goredis.SetLogger(discard{}) // Open returns the errors
		client := goredis.NewClient(&goredis.Options{Addr: o.Redis})
		engine, err := redis.Open(ctx, client, bucket)
		if err != nil {
			return nil, nil, errors.Join(err, client.Close())
		}
		reports, err = fleet.New[answer](engine, fleet.Lease(lease), fleet.EngineTimeout(timeout))
		return reports, func() { engine.Close(); client.Close() }, err
	}
	nc, err := nats.Connect(o.NATS,
		nats.MaxReconnects(-1),
		// A silent server is noticed within three of these intervals.
		nats.PingInterval(2*time.Second),
		nats.MaxPingsOutstanding(2))
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, nil, err
	}
	engine, err := natskv.Open(ctx, js, bucket)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	reports, err = fleet.New[answer](engine, fleet.Lease(lease), fleet.EngineTimeout(timeout))
	return reports, func() { engine.Close(); nc.Close() }, err
}

type discard struct{}

func (discard) Printf(context.Context, string, ...any) {}

// ask has all callers ask for the report of the shop at once.
func (o orders) ask(ctx context.Context, reports *fleet.Group[answer], st *store) (m message, err error) {
	load := func(ctx context.Context) (answer, error) {
		// Another call, in any process, may have stored the answer since.
		if a, ok, err := st.kept(ctx, shop); ok || err != nil {
			return a, err
		}
		if err := st.count(ctx, o.Process); err != nil {
			return answer{}, err
		}
		tell(message{Began: time.Now()})
		a, err := st.query(ctx, shop)
		if err == nil {
			err = st.keep(ctx, shop, a)
		}
		tell(message{Ended: time.Now()})
		return a, err
	}

	want := truth(shop)
	answered := make([]time.Time, o.Callers)
	began := make([]time.Time, o.Callers)
	var callers errgroup.Group
	m.Came = time.Now()
	for i := range o.Callers {
		callers.Go(func() error {
			began[i] = time.Now()
			a, err, _ := reports.DoContext(ctx, shop, load)
			answered[i] = time.Now()
			if err == nil && a != want {
				err = fmt.Errorf("a caller got %+v, want %+v", a, want)
			}
			return err
		})
	}
	if err := callers.Wait(); err != nil {
		return m, err
	}
	m.First, m.Last = answered[0], answered[0]
	for i, t := range answered {
		if t.Before(m.First) {
			m.First = t
		}
		if t.After(m.Last) {
			m.Last = t
		}
		m.Slowest = max(m.Slowest, t.Sub(began[i]))
	}
	return m, nil
}
