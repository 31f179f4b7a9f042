// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// This program was written for golang.org/x/sync/singleflight. The test runs it as it
// is, and with that import path replaced.
package main

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/singleflight"
)

type loader struct {
	singleflight.Group // its methods, and its zero value
	runs               int
}

func (l *loader) load(key string) (any, error) {
	v, err, shared := l.Do(key, func() (interface{}, error) {
		l.runs++
		return "value of " + key, nil
	})
	fmt.Println(v, err, shared)
	return v, err
}

var errBroken = errors.New("broken")

func main() {
	l := new(loader)
	l.load("a")
	l.load("b")
	fmt.Println("runs:", l.runs)

	var g singleflight.Group
	release := make(chan struct{})
	slow := func() (any, error) { <-release; return 42, errBroken }
	var channels []<-chan singleflight.Result
	for range 3 {
		channels = append(channels, g.DoChan("k", slow))
	}
	g.Forget("k")
	channels = append(channels, g.DoChan("k", func() (any, error) { return "new", nil }))
	fmt.Println(<-channels[3])
	close(release)
	for _, ch := range channels[:3] {
		var r singleflight.Result = <-ch
		n, ok := r.Val.(int)
		fmt.Println(n, ok, r.Err == errBroken, r.Shared)
	}

	var do func(string, func() (any, error)) (any, error, bool) = g.Do
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		defer func() { fmt.Println("panicked:", recover() != nil) }()
		do("k", func() (any, error) { panic("boom") })
	}()
	wg.Wait()
	fmt.Println(do("k", func() (any, error) { return nil, nil }))
	fmt.Println(singleflight.Result{Val: 1, Err: nil, Shared: true})
}
