// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

var declared singleflight.Group // want `declared is left as it is: v in line 14 was declared before, as an any`

func declare() any {
	var v any
	var err error
	v, err, _ = declared.Do("", func() (any, error) { return 1, nil })
	if err != nil {
		return nil
	}
	return v
}
