// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

var handed singleflight.Group // want `handed is left as it is: it is passed on in line 11`

func handOn() *singleflight.Group { return &handed }
