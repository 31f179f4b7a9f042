// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package samples

import (
	"context"
	"fmt"
	"time"

	"example.com/singleflight"
	"example.com/singleflight/examples/internal/samples/before"
)

type Token = before.Token

type tokens struct {
	group  singleflight.Group[string, Token]
	cache  singleflight.Cache[string, Token]
	issuer before.Issuer
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
