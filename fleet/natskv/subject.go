// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package natskv

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"example.com/singleflight/fleet/internal/engine"
)

// subject returns the subject under which the bucket stores the record.
func (e *Engine) subject(name engine.Name) string {
	return e.subjects + encodeKey(name.Key) + "." + name.Part
}

// maxToken is how long a key may get in a subject; longer ones are hashed.
const maxToken = 256

// encodeKey turns any key into one token of a subject: letters, digits, '-' and
// '_' stand for themselves, any other byte becomes '=' and two hexadecimal
// digits. A lone '=' is the empty key, and "=_" begins a hash.
func encodeKey(key string) string {
	if key == "" {
		return "="
	}
	var b strings.Builder
	for i := range len(key) {
		switch c := key[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	if b.Len() > maxToken {
		sum := sha256.Sum256([]byte(key))
		return "=_" + base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return b.String()
}
