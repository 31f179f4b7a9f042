// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

var notWritten singleflight.Group // want `notWritten is left as it is: fn is not a function literal in line 11`

func function() { notWritten.Do("", load) }
