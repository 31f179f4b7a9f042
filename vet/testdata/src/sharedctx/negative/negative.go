// Package negative has calls that are not reported.
package negative

import (
	"context"
	"log"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sync/singleflight"
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

// An application's context is nobody's in particular.
func (s *service) receiver(id string) {
	g.Do(id, func() (any, error) { return load(s.app.Context(), id) })
}

func outside(r *http.Request, id string) {
	load(r.Context(), id)
	g.Do(id, func() (any, error) { return r.Header.Get(id), nil })
}

func received(ctx context.Context, id string) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	r := <-g.DoChan(id, func() (any, error) { return load(ctx, id) })
	return r.Val, r.Err
}
