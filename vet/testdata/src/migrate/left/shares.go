// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

var (
	shares  singleflight.Group // want `shares is left as it is: it shares a file with unmoved, which is left as it is`
	unmoved singleflight.Group // want `unmoved is left as it is: fn is not a function literal in line 16`
)

func share() {
	shares.Do("", func() (any, error) { return 1, nil })
	unmoved.Do("", load)
}
