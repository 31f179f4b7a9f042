// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package foreign hands its group to another package.
package foreign

import (
	"context"

	"golang.org/x/sync/singleflight"
	"sharedctx/exported"
)

func load(ctx context.Context, s *exported.Service, id string) {
	var g *singleflight.Group = &s.Group
	g.Do(id, func() (any, error) {
		return nil, ctx.Err() // want `ctx belongs .*\(no fix: Group of another package has a type of golang.org/x/sync/singleflight\)`
	})
}
