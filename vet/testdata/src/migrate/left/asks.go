// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import (
	"errors"

	"golang.org/x/sync/singleflight"
)

var asks singleflight.Group // want `asks is left as it is: line 23 asks whether the value is nil`

func ask() int {
	v, _, _ := asks.Do("", func() (any, error) {
		if false {
			return nil, errors.New("")
		}
		return 1, nil
	})

	n, _ := v.(int)
	return n
}
