// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package nofix has calls that are reported with the reason why they are not
// fixed.
package nofix

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"web"
)

var g singleflight.Group

func load(ctx context.Context, id string) (any, error) { return id, ctx.Err() }

func request(r *web.Request, id string) {
	g.Do(id, func() (any, error) {
		return load(r.Context(), id) // want `r.Context\(\) belongs to the caller .*\(no fix: fn uses r, which belongs to the caller\)`
	})
}

func handler(w web.ResponseWriter, r *web.Request) {
	ctx := r.Context()
	g.Do("", func() (any, error) {
		w.WriteHeader(200)
		return load(ctx, "") // want `ctx belongs .*\(no fix: fn uses w, which belongs to the caller\)`
	})
}

func transaction(ctx context.Context, tx *web.Tx) {
	g.Do("", func() (any, error) {
		return tx.ExecContext(ctx, "") // want `ctx belongs .*\(no fix: fn uses tx, which belongs`
	})
}

func buffer(ctx context.Context, buf *bytes.Buffer) {
	g.Do("", func() (any, error) {
		buf.Reset()
		return load(ctx, "") // want `ctx belongs .*\(no fix: fn uses buf, which belongs`
	})
}

type conn struct{}

func (*conn) Close() {}

func released(ctx context.Context) {
	c := new(conn)
	defer c.Close()
	g.Do("", func() (any, error) {
		_ = c
		return load(ctx, "") // want `ctx belongs .*\(no fix: fn uses c, which the caller releases`
	})
}

func assigns(ctx context.Context) (hit bool) {
	g.Do("", func() (any, error) {
		hit = true
		return load(ctx, "") // want `ctx belongs .*\(no fix: fn assigns to hit of its caller\)`
	})
	return hit
}

func assignsField(ctx context.Context, c *counter) {
	g.Do("", func() (any, error) {
		c.n = 1
		return load(ctx, "") // want `ctx belongs .*\(no fix: fn assigns to c of its caller\)`
	})
}

type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) locked(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g.Do("", func() (any, error) {
		c.n++
		return load(ctx, "") // want `ctx belongs .*\(no fix: the caller holds a lock\)`
	})
}

// With Do, v is never nil.
func asserted(ctx context.Context) (int, error) {
	v, err, _ := g.Do("", func() (any, error) {
		return 1, ctx.Err() // want `ctx belongs .*\(no fix: the value is asserted before the error is checked, which panics when a caller leaves\)`
	})
	return v.(int), err
}

func assertedInVar(ctx context.Context) (int, error) {
	var v, err, _ = g.Do("", func() (any, error) {
		return 1, ctx.Err() // want `ctx belongs .*\(no fix: the value is asserted before the error is checked, which panics when a caller leaves\)`
	})
	return v.(int), err
}

func reads(ctx context.Context, id string) {
	g.Do("", func() (any, error) {
		return load(ctx, id) // want `ctx belongs .*\(no fix: fn uses id, to which the caller assigns later\)`
	})
	id = "other"
}

type lazy struct{ ctx context.Context }

func newLazy(ctx context.Context) (*lazy, error) { return &lazy{ctx}, nil }

func keeps(ctx context.Context) {
	g.Do("", func() (any, error) {
		return newLazy(ctx) // want `ctx belongs .*\(no fix: the value keeps a context, or reads from one\)`
	})
}

func opens(ctx context.Context, open func(context.Context) (io.Reader, error)) {
	g.Do("", func() (any, error) {
		return open(ctx) // want `ctx belongs .*\(no fix: the value keeps a context, or reads from one\)`
	})
}

func counts(ctx context.Context) (n int) {
	g.Do("", func() (any, error) {
		n++
		return load(ctx, "") // want `ctx belongs .*\(no fix: fn assigns to n of its caller\)`
	})
	return n
}

func decodes(ctx context.Context, into func(any) error) (n int, err error) {
	g.Do("", func() (any, error) {
		into(&n)
		return load(ctx, "") // want `ctx belongs .*\(no fix: fn assigns to n of its caller\)`
	})
	return n, nil
}

func two(ctx, other context.Context) {
	g.Do("", func() (any, error) {
		load(other, "") // want `other belongs .*\(no fix: fn uses two contexts, other and ctx\)`
		return load(ctx, "")
	})
}

func redeclares(ctx context.Context) {
	g.Do("", func() (any, error) {
		ctx := context.WithValue(ctx, "", "") // want `ctx belongs .*\(no fix: fn declares a ctx of its own\)`
		return load(ctx, "")
	})
}

func redeclaresInVar(ctx context.Context) {
	g.Do("", func() (any, error) {
		load(ctx, "") // want `ctx belongs .*\(no fix: fn declares a ctx of its own\)`
		var ctx = context.Background()
		return load(ctx, "")
	})
}

func named(ctx context.Context) {
	fn := func() (any, error) {
		return load(ctx, "") // want `ctx belongs .*\(no fix: fn is not a function literal in the call\)`
	}
	g.Do("", fn)
}

func channel(ctx context.Context) {
	select {
	case <-g.DoChan("", func() (any, error) {
		return load(ctx, "") // want `ctx belongs .*\(no fix: DoContext returns no channel\)`
	}):
	case <-ctx.Done():
	}
}

func deferred(ctx context.Context) (any, error) {
	work, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	ch := g.DoChan("", func() (any, error) {
		return load(work, "") // want `work is canceled when the function that calls DoChan returns, and that fails every other caller of the flight`
	})
	select {
	case r := <-ch:
		return r.Val, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type requestContext struct{ context.Context }

func implements(c *requestContext) {
	g.Do("", func() (any, error) {
		return load(c, "") // want `c belongs .*\(no fix: fn uses c, which belongs to the caller\)`
	})
}

func shadowed(ctx context.Context) {
	load := load
	context := 1
	g.Do("", func() (any, error) {
		_ = context
		return load(ctx, "") // want `ctx belongs .*\(no fix: the name of package context has another meaning here\)`
	})
}

// wrapper is done when the context in it is.
type wrapper struct{ context.Context }

func wrapped(ctx context.Context) {
	g.Do("", func() (any, error) {
		ctx := wrapper{ctx} // want `ctx belongs .*\(no fix: fn declares a ctx of its own\)`
		return load(ctx, "")
	})
}

type job struct {
	ctx context.Context
	id  string
}

func sends(ctx context.Context, tx *web.Tx, jobs chan job) {
	g.Do("", func() (any, error) {
		_ = tx
		jobs <- job{id: "", ctx: ctx} // want `ctx belongs .*\(no fix: fn uses tx, which belongs`
		return nil, nil
	})
}

func around(ctx context.Context) (context.Context, error) { return &wrapper{Context: ctx}, nil }

func inBody(ctx context.Context, id string) {
	same, _ := around(ctx)
	g.DoChan(id, func() (any, error) { return load(same, id) }) // want `same belongs to the caller`
}

type database interface {
	QueryContext(ctx context.Context, query string) (*web.Rows, error)
	get(ctx context.Context, key, into any) error
	list(ctx context.Context, into *[]string) error
}

func rows(ctx context.Context, db database) {
	g.Do("", func() (any, error) {
		return db.QueryContext(ctx, "") // want `ctx belongs .*\(no fix: the value keeps a context, or reads from one\)`
	})
}

func destination(ctx context.Context, db database, into any) {
	g.Do("", func() (any, error) {
		return nil, db.get(ctx, "", into) // want `ctx belongs .*\(no fix: fn hands into of its caller to a function that may assign to it\)`
	})
}

func destinationSlice(ctx context.Context, db database, into *[]string) {
	g.Do("", func() (any, error) {
		return nil, db.list(ctx, into) // want `ctx belongs .*\(no fix: fn hands into of its caller to a function that may assign to it\)`
	})
}

func copies(ctx context.Context, into []byte) {
	g.Do("", func() (any, error) {
		copy(into, "text")
		return load(ctx, "") // want `ctx belongs .*\(no fix: fn assigns to into of its caller\)`
	})
}

func deletes(ctx context.Context, from map[string]int) {
	g.Do("", func() (any, error) {
		delete(from, "")
		return load(ctx, "") // want `ctx belongs .*\(no fix: fn assigns to from of its caller\)`
	})
}

// A function literal without a context of its own is called for the caller
// of the function around it.
func retried(ctx context.Context, tx *web.Tx, retry func(func(attempt int))) {
	retry(func(attempt int) {
		g.Do("", func() (any, error) {
			_ = tx
			return load(ctx, "") // want `ctx belongs to the caller`
		})
	})
}

func pings(ctx context.Context) bool {
	failed := ctx.Err() != nil
	return ctx.Value("quiet") != nil || failed
}

// This function does more with the context than read from it.
func pinged(ctx context.Context, tx *web.Tx) {
	g.Do("", func() (any, error) {
		_ = tx
		return pings(ctx), nil // want `ctx belongs to the caller`
	})
}

func webContext(ctx context.Context, c *web.Context) {
	g.Do("", func() (any, error) {
		return load(ctx, c.Path) // want `ctx belongs .*\(no fix: fn uses c, which belongs to the caller\)`
	})
}

func writer(ctx context.Context, w *web.LoggingResponseWriter) {
	g.Do("", func() (any, error) {
		w.WriteHeader(200)
		return load(ctx, "") // want `ctx belongs .*\(no fix: fn uses w, which belongs to the caller\)`
	})
}

func declaresAnother(ctx context.Context) {
	g.Do("", func() (any, error) {
		ctx, end := wrapper{ctx}, func() {} // want `ctx belongs .*\(no fix: fn declares a ctx of its own\)`
		defer end()
		return load(ctx, "")
	})
}

func pooled(ctx context.Context, pool *sync.Pool) {
	b := pool.Get().(*[]byte)
	defer pool.Put(b)
	g.Do("", func() (any, error) {
		return load(ctx, string(*b)) // want `ctx belongs .*\(no fix: fn uses b, which the caller releases in a defer statement\)`
	})
}

func pooledInLiteral(ctx context.Context, pool *sync.Pool) {
	b := pool.Get().(*[]byte)
	defer func() {
		*b = (*b)[:0]
		pool.Put(b)
	}()
	g.Do("", func() (any, error) {
		return load(ctx, string(*b)) // want `ctx belongs .*\(no fix: fn uses b, which the caller releases in a defer statement\)`
	})
}

type guarded struct {
	mu   sync.RWMutex
	name string
}

func (s *guarded) reads(ctx context.Context) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	g.Do("", func() (any, error) {
		return load(ctx, s.name) // want `ctx belongs .*\(no fix: the caller holds a lock\)`
	})
}

func (c *counter) lockedWithoutDefer(ctx context.Context) {
	c.mu.Lock()
	g.Do("", func() (any, error) {
		return load(ctx, "") // want `ctx belongs .*\(no fix: the caller holds a lock\)`
	})
	c.mu.Unlock()
}

func ranges(ctx context.Context, ids []string) (last string) {
	g.Do("", func() (any, error) {
		for _, last = range ids {
			load(ctx, last) // want `ctx belongs .*\(no fix: fn assigns to last of its caller\)`
		}
		return nil, nil
	})
	return last
}

// A method that returns a number may do more, too.
func counted(ctx context.Context, tx *web.Tx) {
	g.Do("", func() (any, error) {
		return tx.Count(ctx), nil // want `ctx belongs .*\(no fix: fn uses tx, which belongs to the caller\)`
	})
}
