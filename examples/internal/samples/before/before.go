// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package before has the code of MIGRATING.md as it is before the move. It is a
// package of its own because singleflight-vet reports what is wrong with it.
package before

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"
)

type Token struct{ Value string }

type Issuer interface {
	Token(ctx context.Context, tenant string) (Token, error)
}

type Cache interface {
	Get(tenant string) (Token, bool)
	Set(tenant string, t Token)
}

// New returns a function that gets tokens.
func New(cache Cache, issuer Issuer) func(ctx context.Context, tenant string) (Token, error) {
	return (&tokens{cache: cache, issuer: issuer}).get
}

type tokens struct {
	group  singleflight.Group
	cache  Cache
	issuer Issuer
}

func (s *tokens) get(ctx context.Context, tenant string) (Token, error) {
	if t, ok := s.cache.Get(tenant); ok {
		return t, nil
	}
	ch := s.group.DoChan(tenant, func() (v any, err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("token for %s: %v", tenant, p)
			}
		}()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		t, err := s.issuer.Token(ctx, tenant)
		if err == nil {
			s.cache.Set(tenant, t)
		}
		return t, err
	})
	select {
	case r := <-ch:
		t, _ := r.Val.(Token)
		return t, r.Err
	case <-ctx.Done():
		return Token{}, ctx.Err()
	}
}
