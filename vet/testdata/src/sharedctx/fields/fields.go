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
