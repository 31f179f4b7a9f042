// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package natskv

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"example.com/singleflight/fleet/internal/engine"
)

const (
	watchTimeout = 5 * time.Second // for the answer of the server to a watch
	watchEnd     = time.Second     // for the client to let go of a watch
)

// Watch is for package fleet.
func (e *Engine) Watch(ctx context.Context, key string) <-chan engine.Entry {
	updates := make(chan engine.Entry)
	ctx, cancel := e.until(ctx)
	go func() {
		defer cancel()
		defer close(updates)
		made := e.subscribe(key)
		select {
		case w := <-made:
			e.forward(ctx, w, updates, len(encodeKey(key))+1)
			go w.stop()
		case <-ctx.Done():
			go func() { (<-made).stop() }()
		}
	}()
	return updates
}

// A watcher is a watch of the client, or none if it could not be had.
type watcher struct {
	jetstream.KeyWatcher
	end context.CancelFunc
}

// subscribe asks the server for a watch of key.
//
// It is tempting to break that off when nobody wants it any more. But if a
// watch is broken off before its answer is there, it stays with the server for
// seconds. A server that refuses it, for want of a permission, does not
// answer at all.
func (e *Engine) subscribe(key string) <-chan watcher {
	made := make(chan watcher, 1)
	go func() {
		ctx, cancel := context.WithCancel(context.Background())
		if !e.conn.IsConnected() {
			// The client would ask the server when it is back, for a watch
			// that nobody wants any more.
			made <- watcher{nil, cancel}
			return
		}
		late := time.AfterFunc(watchTimeout, cancel)
		w, err := e.kv.Watch(ctx, encodeKey(key)+".*")
		late.Stop()
		if err != nil {
			w = nil
		}
		made <- watcher{w, cancel}
	}()
	return made
}

// forward passes on what w brings until it or ctx ends. The part of a record
// begins at that index of its name.
func (e *Engine) forward(ctx context.Context, w watcher, updates chan<- engine.Entry, part int) {
	if w.KeyWatcher == nil {
		return
	}
	for {
		select {
		case u, open := <-w.Updates():
			if !open {
				return
			}
			if u == nil { // between what was there and what comes
				continue
			}
			entry := engine.Entry{Part: u.Key()[part:], Rev: u.Revision(), Data: u.Value(), Time: u.Created()}
			select {
			case updates <- entry:
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// stop ends the watch, here and at the server.
func (w watcher) stop() {
	w.end()
	if w.KeyWatcher == nil {
		return
	}
	// What the client still has may wait for a receiver, and holds a lock that
	// closing the channel needs. The channel may also never be closed, where
	// the connection was closed at the wrong moment.
	late := time.NewTimer(watchEnd)
	defer late.Stop()
	for {
		select {
		case _, open := <-w.Updates():
			if !open {
				return
			}
		case <-late.C:
			return
		}
	}
}
