// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

var channel singleflight.Group // want `channel is left as it is: the channel in line 12, or what it gives, is passed on`

func doChan() {
	ch := channel.DoChan("", func() (any, error) { return 1, nil })
	println(ch)
}
