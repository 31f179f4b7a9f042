// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package together

import "golang.org/x/sync/singleflight"

// The import in this file stays, because a group here stays.
var Stays singleflight.Group // want `Stays is left as it is: it is exported`

func stays(id string) {
	Stays.Do(id, func() (any, error) { return id, nil })
	byTime.Do(id, func() (any, error) { return pages(id) })
	byTime.Do(id, func() (any, error) { return pages(id) })
	urls.Do(id, func() (any, error) { return page(id) })
}
