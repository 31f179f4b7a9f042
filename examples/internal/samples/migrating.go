// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package samples

import (
	"context"
	"fmt"
	"time"

	"example.com/singleflight"
	xsync "golang.org/x/sync/singleflight"
)

type Token struct{ Value string }

type issuer interface {
	Token(ctx context.Context, tenant string) (Token, error)
}

type xsyncTokens struct {
	group  xsync.Group
	cache  singleflight.Cache[string, Token]
	issuer issuer
}

func (s *xsyncTokens) get(ctx context.Context, tenant string) (Token, error) {
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

type tokens struct {
	group  singleflight.Group[string, Token]
	cache  singleflight.Cache[string, Token]
	issuer issuer
}

func (s *tokens) get(ctx context.Context, tenant string) (Token, error) {
	t, err, _ := s.group.Fill(ctx, s.cache, tenant, func(ctx context.Context) (t Token, err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("token for %s: %v", tenant, p)
			}
		}()
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return s.issuer.Token(ctx, tenant)
	})
	return t, err
}

func (s *tokens) revoked(tenant string) { s.group.Invalidate(s.cache, tenant) }
