// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

var Exported singleflight.Group // want `Exported is left as it is: it is exported`

func exported() { Exported.Do("", func() (any, error) { return 1, nil }) }
