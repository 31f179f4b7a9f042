// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package a has keys that do not hold everything.
package a

import (
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"
)

var g singleflight.Group

const constant = 1

var global = 1

func load(args ...any) (any, error) { return nil, nil }

type client struct{}

func missing(id string, limit int, tags []string) {
	g.Do(id, func() (any, error) {
		return load(id, limit) // want `fn depends on limit and the key does not: callers who differ in it share a result`
	})
	g.Do(id, func() (any, error) {
		return load(id, tags) // want `fn depends on tags and the key does not`
	})
	twice := limit * 2
	g.Do(id, func() (any, error) {
		return load(id, twice) // want `fn depends on limit and the key does not`
	})
}

// The report names the first of the parameters.
func several(a, b int, rows [][]string, id string) {
	g.Do(id, func() (any, error) {
		return load(a + b) // want `fn depends on a and the key`
	})
	sum := b + a
	g.Do(id, func() (any, error) {
		return load(sum, b) // want `fn depends on a and the key`
	})
	g.Do(id, func() (any, error) {
		return load(rows) // want `fn depends on rows and the key`
	})
}

func named() (any, error) { return load(0) }

func nothingMissing(id string, n int) {
	g.Do(id, named)
	n = n + len(id)
	g.Do(fmt.Sprint(id, n), func() (any, error) { return load(n) })
	for i := range n {
		g.Do(fmt.Sprint(i), func() (any, error) { return load(i) })
	}
}

func held(id string, limit int, c *client, timeout time.Duration, at time.Time) {
	key := fmt.Sprintf("%s:%d", id, limit)
	g.Do(key, func() (any, error) { return load(id, limit) })
	name := "user " + id
	g.Do(id, func() (any, error) { return load(id, name) })
	g.Do(id, func() (any, error) { return load(id, c, timeout, at, constant, global) })
	seen := 0
	g.Do(id, func() (any, error) {
		seen++
		inner := func(n int) { load(n) }
		inner(1)
		return load(id)
	})
}
