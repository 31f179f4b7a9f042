// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package pages may import the internal packages of web.
package pages

import (
	"golang.org/x/sync/singleflight"
	"web"
)

var pages singleflight.Group // want `pages can be a Group\[string, \*page.Page\]`

func load(id string) {
	pages.Do(id, func() (any, error) { return web.NewPage() })
}
