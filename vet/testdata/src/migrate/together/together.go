// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package together has groups whose calls need other imports in one file.
package together

import (
	"net/url"
	"time"

	"golang.org/x/sync/singleflight"
)

var urls singleflight.Group // want `urls can be a Group\[string, \*url.URL\]`

var byTime singleflight.Group // want `byTime can be a Group\[string, map\[time.Time\]\*url.URL\]`

func page(id string) (*url.URL, error) { return url.Parse(id) }

func pages(id string) (map[time.Time]*url.URL, error) { return nil, nil }
