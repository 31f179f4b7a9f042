// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package fields is for the flag -fields.
package fields

import (
	"context"

	"golang.org/x/sync/singleflight"
)

type service struct {
	ctx context.Context
	g   singleflight.Group
}

func load(ctx context.Context, id string) (any, error) { return id, ctx.Err() }

func (s *service) field(id string) {
	s.g.Do(id, func() (any, error) {
		return load(s.ctx, id) // want `s.ctx belongs .*\(no fix: the context is in a field\)`
	})
}

func (s *service) variable(id string) {
	ctx := s.ctx
	s.g.Do(id, func() (any, error) {
		return load(ctx, id) // want `ctx belongs to the caller`
	})
}
