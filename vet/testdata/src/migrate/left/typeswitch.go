// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

var switched singleflight.Group // want `switched is left as it is: v in line 13 is used as an any`

func typeSwitch() int {
	v, _, _ := switched.Do("", func() (any, error) { return 1, nil })
	switch v := v.(type) {
	case int:
		return v
	}
	return 0
}
