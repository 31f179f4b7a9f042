// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

//go:build schedules

package singleflight

import (
	"runtime"
	"strings"
	"sync"
)

// A mutex calls functions, where they are set, before each Lock and after
// each Unlock, with the name of the method that locks or unlocks.
type mutex struct {
	sync.Mutex
	locking, unlocked func(method string)
}

func (m *mutex) Lock() {
	if m.locking != nil {
		m.locking(method())
	}
	m.Mutex.Lock()
}

func (m *mutex) Unlock() {
	m.Mutex.Unlock()
	if m.unlocked != nil {
		m.unlocked(method())
	}
}

// names has the names of methods by their program counters.
var names sync.Map

// method returns the name of the method that called its caller.
func method() string {
	var pc [1]uintptr
	runtime.Callers(3, pc[:])
	name, ok := names.Load(pc[0])
	if !ok {
		frame, _ := runtime.CallersFrames(pc[:]).Next()
		name = frame.Function[strings.LastIndexByte(frame.Function, '.')+1:]
		names.Store(pc[0], name)
	}
	return name.(string)
}
