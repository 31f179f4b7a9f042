// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

type generic[T any] struct {
	values singleflight.Group // want `values is left as it is: its values have the type parameter T`
}

func (g *generic[T]) get(v T) { g.values.Do("", func() (any, error) { return v, nil }) }
