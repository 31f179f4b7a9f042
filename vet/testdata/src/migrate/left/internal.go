// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import (
	"golang.org/x/sync/singleflight"
	"web"
)

var ofInternal singleflight.Group // want `ofInternal is left as it is: the type Page is of an internal package`

func doInternal() { ofInternal.Do("", func() (any, error) { return web.NewPage() }) }
