// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import (
	"fmt"

	"golang.org/x/sync/singleflight"
)

var result singleflight.Group // want `result is left as it is: r in line 17 is passed on`

func printResult() {
	r := <-result.DoChan("", func() (any, error) { return 1, nil })
	fmt.Println(r)
}
