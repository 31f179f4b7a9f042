// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package negative has calls that are not reported.
package negative

import (
	"context"
	"log"
	"time"

	"golang.org/x/sync/singleflight"
	"slog"
	"web"
)

var g singleflight.Group

type service struct {
	ctx context.Context
	app *application
}

type application struct{}

func (a *application) Context() context.Context { return context.Background() }

func load(ctx context.Context, id string) (any, error) { return id, ctx.Err() }

func traceFromContext(ctx context.Context) string { return "" }

func detachedCopy(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

func background(id string) {
	ctx := context.Background()
	g.Do(id, func() (any, error) { return load(ctx, id) })
	g.Do(id, func() (any, error) { return load(context.TODO(), id) })
}

func withoutCancel(ctx context.Context, id string) {
	free := context.WithoutCancel(ctx)
	g.Do(id, func() (any, error) { return load(free, id) })
	g.Do(id, func() (any, error) { return load(context.WithoutCancel(ctx), id) })
	g.Do(id, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		return load(ctx, id)
	})
	g.Do(id, func() (any, error) { return load(detachedCopy(ctx), id) })
}

func reassigned(ctx context.Context, id string) {
	ctx = context.WithoutCancel(ctx)
	g.Do(id, func() (any, error) { return load(ctx, id) })
}

func derivedOfDetached(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	g.Do(id, func() (any, error) { return load(ctx, id) })
}

func valuesAndLogs(ctx context.Context, id string) {
	g.Do(id, func() (any, error) {
		slog.InfoContext(ctx, "loading", "trace", traceFromContext(ctx))
		log.Print(ctx.Value("key"))
		named := context.WithValue(ctx, "key", id)
		slog.InfoContext(named, "loading")
		return load(context.Background(), id)
	})
}

// The closure is given its own context.
func ownParameter(ctx context.Context, id string, with func(func(context.Context) error) error) {
	g.Do(id, func() (any, error) {
		return nil, with(func(ctx context.Context) error {
			_, err := load(ctx, id)
			return err
		})
	})
}

func (s *service) field(id string) {
	g.Do(id, func() (any, error) { return load(s.ctx, id) })
}

// An application's context belongs to no one caller.
func (s *service) receiver(id string) {
	g.Do(id, func() (any, error) { return load(s.app.Context(), id) })
}

func outside(r *web.Request, id string) {
	load(r.Context(), id)
	g.Do(id, func() (any, error) { return r.Header[id], nil })
}

func received(ctx context.Context, id string) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	r := <-g.DoChan(id, func() (any, error) { return load(ctx, id) })
	return r.Val, r.Err
}

// suppressed is never done.
type suppressed struct{ context.Context }

func (suppressed) Done() <-chan struct{} { return nil }

func (suppressed) Err() error { return nil }

// values has the values of one context, and ends with another.
type values struct {
	context.Context
	values context.Context
}

func (v *values) Value(key any) any { return v.values.Value(key) }

func wrapped(ctx context.Context, id string) {
	g.Do(id, func() (any, error) { return load(suppressed{ctx}, id) })
	g.Do(id, func() (any, error) { return load(&suppressed{Context: ctx}, id) })
	g.Do(id, func() (any, error) { return load(&values{values: ctx, Context: context.Background()}, id) })
	kept, cancel := context.WithCancel(&values{context.Background(), ctx})
	g.DoChan(id, func() (any, error) { return load(kept, id) })
	cancel()
}

type statistics interface {
	fetching(ctx context.Context) func(ok bool)
}

func measures(ctx context.Context, id string, stats statistics) {
	g.Do(id, func() (any, error) {
		done := stats.fetching(ctx)
		v, err := load(context.Background(), id)
		done(err == nil)
		return v, err
	})
}

// A wrapper does not know what fn is.
func (s *service) do(ctx context.Context, id string, fn func() (any, error)) (any, error) {
	v, err, _ := g.Do(id, fn)
	return v, err
}

func (s *service) wrapper(ctx context.Context, id string) (any, error) {
	return s.do(ctx, id, func() (any, error) { return load(ctx, id) })
}

// A method that is a value, or a function, is not recognized.
func methods(ctx context.Context, id string) {
	do := g.Do
	do(id, func() (any, error) { return load(ctx, id) })
	(*singleflight.Group).Do(&g, id, func() (any, error) { return load(ctx, id) })
}

// Other types have methods of that name.
type once struct{}

func (once) Do(key string, fn func() (any, error)) {}

func others(ctx context.Context, id string) {
	once{}.Do(id, func() (any, error) { return load(ctx, id) })
}

var packageLevel, _, _ = g.Do("", func() (any, error) { return load(context.Background(), "") })

// The function does not return what it is given.
func renewed(ctx context.Context) (context.Context, func()) {
	if ctx == nil {
		return context.Background(), func() {}
	}
	return &suppressed{Context: ctx}, func() {}
}

func inBody(ctx context.Context, id string) {
	free, end := renewed(ctx)
	free = context.WithValue(free, "key", id)
	defer end()
	g.Do(id, func() (any, error) { return load(free, id) })
	g.Do(id, func() (any, error) {
		ctx, end := renewed(ctx)
		defer end()
		return load(ctx, id)
	})
}

type identity struct{}

func tenant(ctx context.Context) string { s, _ := ctx.Value(identity{}).(string); return s }

func user(ctx context.Context) *service { s, _ := value(ctx).(*service); return s }

func value(ctx context.Context) any { return ctx.Value(identity{}) }

// Functions of this package that only read from a context are recognized, and so
// are those of other packages that return text.
func readers(ctx context.Context, id string) {
	g.Do(id, func() (any, error) {
		log.Print(tenant(ctx), user(ctx), web.RequestID(ctx))
		return load(context.Background(), id)
	})
}

// The context outside of a handler is not that of a request.
func handlers(ctx context.Context, handle func(any)) {
	ctx, cancel := context.WithCancel(ctx)
	handle(func(w web.ResponseWriter, r *web.Request) {
		g.Do("", func() (any, error) { return load(ctx, "") })
	})
	handle(func(request context.Context, id string) {
		g.Do(id, func() (any, error) { return load(ctx, id) })
	})
	cancel()
}
