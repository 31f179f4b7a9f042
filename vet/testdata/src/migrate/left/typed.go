// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

var local singleflight.Group // want `local is left as it is: the type thing is not visible in line 9`

func localType() {
	type thing struct{}
	local.Do("", func() (any, error) { return thing{}, nil })
}
