// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

var mixed singleflight.Group // want `mixed is left as it is: it holds values of two types, int and string`

func mix() {
	mixed.Do("", func() (any, error) { return 1, nil })
	mixed.Do("", func() (any, error) { return "", nil })
}
