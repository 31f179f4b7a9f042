// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

var returned singleflight.Group // want `returned is left as it is: what Do returns in line 12 is used as an any`

func doReturn() (any, error, bool) {
	return returned.Do("", func() (any, error) { return 1, nil })
}
