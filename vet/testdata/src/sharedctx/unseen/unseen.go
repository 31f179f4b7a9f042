// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package unseen has its group in a file for another platform, too.
package unseen

import (
	"context"

	"golang.org/x/sync/singleflight"
)

var g singleflight.Group

func load(ctx context.Context, id string) {
	g.Do(id, func() (any, error) {
		return nil, ctx.Err() // want `ctx belongs .*\(no fix: unseen_plan9.go, which uses it too, is not in this build\)`
	})
}
