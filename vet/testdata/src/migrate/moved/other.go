// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package moved

// This file has a call, and no import of the package of the type.
func (s *store) otherURL(id string) error {
	_, err, _ := s.urls.Do(id, func() (any, error) { return s.url(id) })
	return err
}
