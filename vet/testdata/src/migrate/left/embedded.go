// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

type embedded struct {
	singleflight.Group
}

type kept struct {
	g singleflight.Group // want `g is left as it is: its file has a group that is neither a variable nor a field`
}

func (k *kept) do() { k.g.Do("", func() (any, error) { return 1, nil }) }
