// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import (
	"fmt"

	"golang.org/x/sync/singleflight"
)

var asksInterface singleflight.Group // want `asksInterface is left as it is: line 19 asks whether the value is nil`

func stringer() (fmt.Stringer, error) { return nil, nil }

func askInterface() bool {
	v, _, _ := asksInterface.Do("", func() (any, error) { return stringer() })
	_, ok := v.(fmt.Stringer)
	return ok
}
