// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

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
