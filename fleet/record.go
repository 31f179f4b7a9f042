// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// A record is what the bucket holds under a name: a line of JSON, and after
// it the value or the message.
//
// A key has one name for the load that can be joined, "now", and each of its
// loads that was forgotten has a name of its own, the load's token. Whatever
// is written names the revision that it replaces, so that nobody overwrites
// what he has not seen.
type record struct {
	State state  `json:"state"`
	Token string `json:"token"`           // of the load; no two have the same
	Lease int    `json:"lease,omitempty"` // seconds, while pending

	body []byte
	rev  uint64 // the stream's sequence number
	gone bool   // from the bucket; rev is of what was there before
}

const now = "now" // no token is in lower case

type state string

const (
	free     state = ""         // nothing there, or what a released or expired record leaves
	pending  state = "pending"  // fn runs, and its holder renews the record
	moved    state = "moved"    // the load was forgotten, and goes on under its own name
	done     state = "done"     // body is the value, encoded
	failed   state = "failed"   // body is the message
	withheld state = "withheld" // the value could not be sent: everyone loads for himself
)

func (s state) finished() bool { return s == done || s == failed || s == withheld }

// expect is the revision that a write that replaces r has to name.
func (r record) expect() uint64 {
	if r.gone {
		return 0
	}
	return r.rev
}

func (r record) encode() []byte {
	line, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and an int
	}
	return append(append(line, '\n'), r.body...)
}

// decode reads what the bucket holds. What it cannot read, from a later
// version perhaps, is a value that was withheld.
func decode(data []byte, rev uint64) record {
	if len(data) == 0 {
		return record{rev: rev} // a marker
	}
	line, body, _ := bytes.Cut(data, []byte{'\n'})
	r := record{rev: rev, body: body}
	err := json.Unmarshal(line, &r)
	if ok := err == nil && r.Token != "" && (r.State == pending && r.Lease > 0 || r.State == moved || r.State.finished()); !ok {
		return record{State: withheld, rev: rev}
	}
	return r
}

// maxToken is how long a key may get in a subject; longer ones are hashed.
const maxToken = 256

// encodeKey makes of any key a token of a subject: letters, digits, '-' and
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
