// Package generated has its group in a file that no fix may edit.
package generated

import (
	"context"

	"golang.org/x/sync/singleflight"
)

var g singleflight.Group

func load(ctx context.Context, id string) {
	g.Do(id, func() (any, error) {
		return nil, ctx.Err() // want `ctx belongs .*\(no fix: made.go, which uses it too, is generated\)`
	})
}
