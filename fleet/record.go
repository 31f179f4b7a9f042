// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet

import (
	"bytes"
	"encoding/json"
	"time"
)

// A record is what the engine holds under one part of a key: a line of JSON,
// and after it the value or the message.
//
// A key has a part for the load that can be joined, current, and one for each
// of its loads that was forgotten, named by the load's token. The head of
// flight.go says which process writes what.
type record struct {
	State state  `json:"state"`
	Token string `json:"token,omitempty"` // of the load; no two have the same
	Lease int64  `json:"lease,omitempty"` // in milliseconds, while pending

	body []byte
	rev  uint64
	gone bool      // nothing is stored; rev is of what was there before
	time time.Time // when it was written, by the engine's clock
}

const current = "current" // no token is in lower case

type state string

const (
	free     state = ""         // nothing is stored, or only the marker of a released or expired record
	pending  state = "pending"  // fn runs, and its holder renews the record
	moved    state = "moved"    // a load was forgotten, and continues in a part of its own
	done     state = "done"     // body is the encoded value
	failed   state = "failed"   // body is the message
	withheld state = "withheld" // the value could not be sent
)

func (s state) finished() bool { return s == done || s == failed || s == withheld }

func (r record) lease() time.Duration { return time.Duration(r.Lease) * time.Millisecond }

// expect returns the revision that a write that replaces r has to name.
func (r record) expect() uint64 {
	if r.gone {
		return 0
	}
	return r.rev
}

func (r record) encode() []byte {
	if r.State == free {
		return nil
	}
	line, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and a number
	}
	return append(append(line, '\n'), r.body...)
}

// decode reads the bytes of a record. Bytes that it cannot read, perhaps of a
// later version, count as a value that was withheld.
func decode(data []byte) record {
	if len(data) == 0 {
		return record{}
	}
	line, body, _ := bytes.Cut(data, []byte{'\n'})
	r := record{body: body}
	err := json.Unmarshal(line, &r)
	switch {
	case err != nil:
	case r.State == moved:
		return r
	case r.Token == "":
	case r.State == pending && r.Lease > 0, r.State.finished():
		return r
	}
	return record{State: withheld}
}
