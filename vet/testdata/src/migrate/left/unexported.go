// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import (
	"golang.org/x/sync/singleflight"
	"web"
)

var unexported singleflight.Group // want `unexported is left as it is: the type session is not exported`

func doUnexported() {
	unexported.Do("", func() (any, error) { return web.NewSessions() })
}
