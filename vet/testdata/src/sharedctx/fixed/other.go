// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fixed

import "golang.org/x/sync/singleflight"

// The fix of the other file reaches this one, which has nothing to report
// and no import of context.

var other singleflight.Group

func (s *store) once(id string) (<-chan singleflight.Result, error) {
	_, err, _ := other.Do(id, func() (interface{}, error) { return id, nil })
	return other.DoChan(id, func() (interface{}, error) { return id, nil }), err
}
