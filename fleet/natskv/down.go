// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package natskv

import "github.com/nats-io/nats.go"

// Down is for package fleet.
func (e *Engine) Down() <-chan struct{} {
	// It is tempting to ask the connection, but that waits for the client's
	// mutex, which is held while the client writes to a connection that takes
	// nothing.
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.down
}

// listen starts the goroutine that notes when the connection goes down and
// comes back. It ends when the Engine is closed.
func (e *Engine) listen() {
	status := e.conn.StatusChanged() // first, so that nothing is missed
	e.down, e.up = make(chan struct{}), true
	e.set(e.conn.IsConnected())
	go func() {
		defer e.conn.RemoveStatusListener(status)
		for {
			select {
			case s := <-status:
				if s != nats.CONNECTED {
					e.set(false)
				}
				// The status may be out of date, and the client drops one that
				// is not received in time. So ask the connection.
				e.set(e.conn.IsConnected())
			case <-e.life.Done():
				return
			}
		}
	}()
}

// set notes whether the connection is up.
func (e *Engine) set(up bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.life.Err() != nil:
		up = false
	case up && !e.up:
		e.down = make(chan struct{})
	}
	if e.up && !up {
		close(e.down)
	}
	e.up = up
}
