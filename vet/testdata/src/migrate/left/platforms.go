// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

var onPlatforms singleflight.Group // want `onPlatforms is left as it is: platform_plan9.go, which is not in this build, may use it`

func on() { onPlatforms.Do("", func() (any, error) { return 1, nil }) }
