// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package exported shows its group to other packages.
package exported

import (
	"context"

	"golang.org/x/sync/singleflight"
)

type Service struct {
	Group singleflight.Group
}

func (s *Service) Load(ctx context.Context, id string) {
	s.Group.Do(id, func() (any, error) {
		return nil, ctx.Err() // want `ctx belongs .*\(no fix: Service.Group shows a type of golang.org/x/sync/singleflight to other packages\)`
	})
}
