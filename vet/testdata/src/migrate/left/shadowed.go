// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

type item struct{}

func newItem() (*item, error) { return nil, nil }

var shadows singleflight.Group // want `shadows is left as it is: the type item is not visible in line 18`

var arguments singleflight.Group // want `arguments is left as it is: the type session is not exported`

func shadow(item string) {
	shadows.Do(item, func() (any, error) { return newItem() })
}
