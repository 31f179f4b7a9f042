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
	watchTimeout = 5 * time.Second // for the server to answer a request for a watch
	watchEnd     = time.Second     // for the client to end a watch
)

// Watch is for package fleet.
func (e *Engine) Watch(ctx context.Context, key string) <-chan engine.Entry {
	// It is tempting to let the client continue a watch when the connection is
	// back, but a marker may have come and gone meanwhile. And if the server was
	// restarted and has forgotten the watch, the client notices that only when
	// two heartbeats are missing, after ten seconds or more.
	updates := make(chan engine.Entry)
	down := e.Down() // also after Close
	select {
	case <-ctx.Done():
		close(updates)
		return updates
	case <-down:
		close(updates)
		return updates
	default:
	}
	go func() {
		defer close(updates)
		made := e.subscribe(key)
		select {
		case w := <-made:
			w.forward(ctx, down, updates, len(encodeKey(key))+1)
			made <- w
		case <-ctx.Done():
		case <-down:
		}
		go func() { (<-made).stop() }()
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
// It is tempting to cancel the request when the watch is no longer wanted, but
// then the watch stays on the server for seconds. A server that refuses a watch,
// because a permission is missing, does not answer at all.
func (e *Engine) subscribe(key string) chan watcher {
	made := make(chan watcher, 1)
	go func() {
		ctx, cancel := context.WithCancel(context.Background())
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

// forward passes on the updates of w until it ends, ctx is done, or the
// connection goes down. In a record's name, its part begins at index part.
func (w watcher) forward(ctx context.Context, down <-chan struct{}, updates chan<- engine.Entry, part int) {
	if w.KeyWatcher == nil {
		return
	}
	for {
		var entry engine.Entry
		select {
		case u, open := <-w.Updates():
			if !open {
				return
			}
			entry = engine.Entry{} // after what is stored, the client sends nil
			if u != nil {
				entry = engine.Entry{Part: u.Key()[part:], Rev: u.Revision(), Data: u.Value(), Time: u.Created()}
			}
		case <-ctx.Done():
			return
		case <-down:
			return
		}
		select {
		case updates <- entry:
		case <-ctx.Done():
			return
		case <-down:
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
	// An update that the client is still sending holds a lock that closing the
	// channel needs, so receive until then. The channel is never closed if the
	// connection was closed at the wrong moment.
	for {
		select {
		case _, open := <-w.Updates():
			if !open {
				return
			}
		case <-time.After(watchEnd):
			return
		}
	}
}
