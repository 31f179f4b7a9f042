// Package copied uses a copy of x/sync's package.
package copied

import (
	"context"

	"vendored/singleflight"
)

var g singleflight.Group

func load(ctx context.Context, id string) {
	g.Do(id, func() (any, error) {
		return nil, ctx.Err() // want `ctx belongs .*\(no fix: the group is a copy of x/sync's\)`
	})
}
