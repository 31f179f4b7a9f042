// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

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
