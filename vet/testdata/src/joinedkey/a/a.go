// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package a joins keys.
package a

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	ours "example.com/singleflight"
	"golang.org/x/sync/singleflight"
)

var (
	g     singleflight.Group
	pairs ours.Group[[2]string, any]
)

func load() (any, error) { return nil, nil }

type tenant string

func joined(a, b string, t tenant, list []string) {
	g.Do(a+b, load)                               // want `two different requests can have this key, which is joined from strings: use a struct, or quote the strings`
	g.Do(a+":"+b, load)                           // want `two different requests`
	g.Do(fmt.Sprintf("%s/%s", a, b), load)        // want `two different requests`
	g.Do(fmt.Sprintf("%v-%d-%s", a, 1, b), load)  // want `two different requests`
	g.Do(fmt.Sprint(a, b), load)                  // want `two different requests`
	g.Do(strings.Join([]string{a, b}, ","), load) // want `two different requests`
	g.Do(strings.Join(list, ","), load)           // want `two different requests`
	g.Do(string(t)+"/"+a, load)                   // want `two different requests`
	key := a + "." + b
	g.Do(key, load)         // want `two different requests`
	g.Do("user:"+key, load) // want `two different requests`
}

func unambiguous(a, b string, n int, addr netip.Addr) {
	g.Do(a, load)
	g.Do("user:"+a, load)
	g.Do(a+":"+strconv.Itoa(n), load)
	g.Do(fmt.Sprintf("%s:%d", a, n), load)
	g.Do(fmt.Sprintf("%q%q", a, b), load)
	g.Do(fmt.Sprintf("%s%%%q", a, b), load)
	g.Do(a+"\x00"+b, load)
	g.Do(strings.Join([]string{a, b}, "\x00"), load)
	g.Do(strconv.Quote(a)+strconv.Quote(b), load)
	g.Do(addr.String()+":"+a, load)
	pairs.Do([2]string{a, b}, load)
}
