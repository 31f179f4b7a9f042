// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package a declares groups in the functions that use them.
package a

import (
	"context"

	ours "example.com/singleflight"
	"golang.org/x/sync/singleflight"
)

func load() (any, error) { return nil, nil }

var global singleflight.Group

type service struct{ g *singleflight.Group }

func declared(id string) {
	var g singleflight.Group
	g.Do(id, load) // want `g is declared in the function that uses it, so that no other call can join its flights`
}

func made(ctx context.Context, id string) {
	a := new(singleflight.Group)
	a.Do(id, load) // want `a is declared in the function`
	b := &singleflight.Group{}
	b.Do(id, load) // want `b is declared in the function`
	b.Forget(id)
	c := ours.Group[string, any]{}
	c.DoContext(ctx, id, func(context.Context) (any, error) { return load() }) // want `c is declared in the function`
	var d singleflight.Group
	<-d.DoChan(id, load) // want `d is declared in the function`
}

func inLoop(ids []string) {
	var g singleflight.Group
	for _, id := range ids {
		g.Do(id, load) // want `g is declared in the function`
	}
}

func goroutines(ids []string) {
	var g singleflight.Group
	for _, id := range ids {
		go func() { g.Do(id, load) }()
	}
}

func goStatement(id string) {
	var g singleflight.Group
	go g.Do(id, load)
	g.Do(id, load)
}

func channels(ids []string) {
	var one, two singleflight.Group
	for _, id := range ids {
		one.DoChan(id, load)
	}
	two.DoChan("", load)
	two.DoChan("", load)
}

func handedOn(id string) *service {
	var g singleflight.Group
	g.Do(id, load)
	return &service{g: &g}
}

func others(s *service, groups map[string]*singleflight.Group, g *singleflight.Group, id string) {
	g.Do(id, load)
	s.g.Do(id, load)
	global.Do(id, load)
	local := s.g
	local.Do(id, load)
	for _, each := range groups {
		each.Do(id, load)
	}
	var later *singleflight.Group
	later.Do(id, load)
}

func outer(id string) func() {
	var g singleflight.Group
	return func() { g.Do(id, load) }
}

func methodValue(id string) func(string, func() (any, error)) (any, error, bool) {
	var g singleflight.Group
	g.Do(id, load)
	return g.Do
}

func conditional(id string, s *service) {
	g := new(singleflight.Group)
	if s != nil {
		g = s.g
	}
	g.Do(id, load)
}
