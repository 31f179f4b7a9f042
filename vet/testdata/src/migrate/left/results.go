// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

var results singleflight.Group // want `results is left as it is: fn in line 12 names its results`

func nameResults() {
	results.Do("", func() (v any, err error) { return 1, nil })
}
