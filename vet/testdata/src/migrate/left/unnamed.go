// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

var unnamed singleflight.Group // want `unnamed is left as it is: the type of its values has no name`

func doUnnamed() {
	unnamed.Do("", func() (any, error) { return func() {}, nil })
}
