// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

var neighbor singleflight.Group // want `neighbor is left as it is: its file uses Result`

func besides() singleflight.Result {
	neighbor.Do("", func() (any, error) { return 1, nil })
	return singleflight.Result{}
}
