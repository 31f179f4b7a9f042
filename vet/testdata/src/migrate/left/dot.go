// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import . "golang.org/x/sync/singleflight"

var dot Group // want `dot is left as it is: its package is imported with a dot`

func dots() { dot.Do("", func() (any, error) { return 1, nil }) }
