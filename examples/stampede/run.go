// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"example.com/singleflight"
	"golang.org/x/sync/errgroup"
)

// A cache keeps the answers. It is empty at first.
type cache struct {
	mu sync.RWMutex
	m  map[key]answer
}

// Get, Set and Delete are the methods of singleflight.Cache.

func (c *cache) Get(k key) (answer, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	a, ok := c.m[k]
	return a, ok
}

func (c *cache) Set(k key, a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = make(map[key]answer)
	}
	c.m[k] = a
}

func (c *cache) Delete(k key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.m, k)
}

// A load returns an answer that is not in the cache.
type load func(context.Context, key) (answer, error)

// without does what most programs do after a miss: it queries and stores.
func without(c *cache, query load) load {
	return func(ctx context.Context, k key) (answer, error) {
		a, err := query(ctx, k)
		if err == nil {
			c.Set(k, a)
		}
		return a, err
	}
}

// with does the same, once for all concurrent callers.
func with(c *cache, query load) load {
	var g singleflight.Group[key, answer]
	return func(ctx context.Context, k key) (answer, error) {
		a, err, _ := g.Fill(ctx, c, k, func(ctx context.Context) (answer, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			return query(ctx, k)
		})
		return a, err
	}
}

// A caller has the times of one caller, counted from the arrival of the first.
type caller struct {
	arrived, answered time.Duration
	began, ended      time.Duration // of the query that gave the answer
}

// A stampede is many callers for one key.
type stampede struct {
	callers int
	window  time.Duration // from the first arrival to the last
	key     key
	want    sum
}

// run starts the callers once all of them have missed the cache, and returns
// their times in the order of their answers.
func (s stampede) run(ctx context.Context, c *cache, load load) ([]caller, error) {
	g, ctx := errgroup.WithContext(ctx)
	callers := make([]caller, s.callers)
	var missed sync.WaitGroup
	missed.Add(s.callers)
	var open time.Time
	gate := make(chan struct{})
	for i := range callers {
		g.Go(func() error {
			_, hit := c.Get(s.key)
			missed.Done()
			<-gate
			if hit {
				return errors.New("the cache was not cold")
			}

			// A caller arrives when it is due. If it has to wait for a
			// processor, that is part of its wait.
			due := s.due(i)
			if err := sleep(ctx, time.Until(open.Add(due))); err != nil {
				return err
			}
			a, err := load(ctx, s.key)
			if err != nil {
				return err
			}
			answered := time.Since(open)
			if a.sum != s.want {
				return fmt.Errorf("caller %d got %+v for %+v, want %+v", i, a.sum, s.key, s.want)
			}
			callers[i] = caller{due, answered, a.began.Sub(open), a.ended.Sub(open)}
			return nil
		})
	}
	missed.Wait()
	open = time.Now()
	close(gate)
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(callers, func(a, b caller) int { return cmp.Compare(a.answered, b.answered) })
	return callers, nil
}

// due spreads the callers evenly over the window.
func (s stampede) due(i int) time.Duration {
	return time.Duration(float64(s.window) * float64(i) / float64(max(1, s.callers-1)))
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A half has the measurements of one of the two runs: without or with a Group.
type half struct {
	Queries int64         `json:"queries"`
	Wall    time.Duration `json:"wall_ns"` // until the last caller had its answer
	Slowest time.Duration `json:"slowest_ns"`
	Median  time.Duration `json:"median_ns"`

	callers []caller
}

func measure(callers []caller, queries int64) half {
	waits := make([]time.Duration, len(callers))
	for i, c := range callers {
		waits[i] = c.answered - c.arrived
	}
	slices.Sort(waits)
	last := len(callers) - 1
	return half{queries, callers[last].answered, waits[last], waits[last/2], callers}
}
