// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

var asserts singleflight.Group // want `asserts is left as it is: line 13 asserts another type`

func assert() string {
	v, _, _ := asserts.Do("", func() (any, error) { return 1, nil })
	return v.(string)
}
