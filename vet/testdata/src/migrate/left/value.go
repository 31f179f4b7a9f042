// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import (
	"fmt"

	"golang.org/x/sync/singleflight"
)

var value singleflight.Group // want `value is left as it is: r.Val in line 17 is used as an any`

func printValue() {
	r := <-value.DoChan("", func() (any, error) { return 1, nil })
	fmt.Println(r.Val)
}
