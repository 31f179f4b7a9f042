// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package redis

import (
	"context"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// News are the messages that the write script publishes. They arrive on one
// connection, which is subscribed to the channels of all keys that are watched
// here. The client's PubSub would replace a lost connection by itself, but does
// not say when it has lost one, and does not notice a server that is silent. So
// a PubSub is used for one connection only, and then closed.

const (
	beat     = 500 * time.Millisecond // the connection is pinged once in a beat
	silence  = 3                      // beats without a message from the server, after which the connection counts as lost
	grace    = 500 * time.Millisecond // for a new connection, before the Engine is down
	attempts = 3                      // failed ones, before the Engine is down; in a cluster not all go to the same node
)

// canceled is the context of requests on a PubSub that is connected. They work
// with it; but with it the PubSub cannot replace a lost connection by itself.
var canceled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// connect returns a PubSub with a connection that works: it has confirmed a
// subscription.
func (e *Engine) connect(ctx context.Context) (*goredis.PubSub, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ps := e.client.Subscribe(ctx)
	err := ps.Ping(ctx) // first, so that a cluster client chooses any node, and not the one that has a slot
	if err == nil {
		err = ps.Subscribe(ctx, e.probe())
	}
	for err == nil {
		var message any
		message, err = ps.Receive(ctx)
		if _, ok := message.(*goredis.Subscription); ok {
			return ps, nil
		}
	}
	ps.Close()
	return nil, err
}

// listen uses ps and, when its connection is lost, others, until Close.
func (e *Engine) listen(ps *goredis.PubSub) {
	for ps != nil {
		e.serve(ps)
		ps = e.reconnect()
	}
}

// reconnect returns a new connection, or nil after Close.
func (e *Engine) reconnect() *goredis.PubSub {
	late := time.After(grace)
	for attempt := 1; e.ctx.Err() == nil; attempt++ {
		connected := make(chan *goredis.PubSub)
		go func() {
			ps, err := e.connect(e.ctx)
			if err != nil {
				ps = nil
			}
			select {
			case connected <- ps:
			case <-e.ctx.Done(): // the client may return late
				if ps != nil {
					ps.Close()
				}
			}
		}()
		for waiting := true; waiting; {
			select {
			case ps := <-connected:
				if ps != nil {
					return ps
				}
				waiting = false
			case <-late:
				e.setDown()
			case <-e.ctx.Done():
				return nil
			}
		}
		if attempt < attempts {
			continue
		}
		e.setDown()
		select {
		case <-time.After(grace / 5):
		case <-e.ctx.Done():
		}
	}
	return nil
}

// serve subscribes and delivers the news, until the connection is lost or the
// Engine closed. It closes ps.
func (e *Engine) serve(ps *goredis.PubSub) {
	e.setUp()
	e.resubscribe()
	var silent atomic.Int32
	lost := make(chan struct{})
	go func() {
		defer close(lost)
		for {
			message, err := ps.Receive(canceled)
			if err != nil {
				return
			}
			silent.Store(0)
			switch m := message.(type) {
			case *goredis.Message:
				e.deliver(m)
			case *goredis.Subscription:
				e.confirm(m)
			}
		}
	}()
	defer func() {
		ps.Close()
		<-lost // no news of this connection comes after news of the next
	}()
	ping := time.NewTicker(beat)
	defer ping.Stop()
	for {
		var err error
		select {
		case <-e.changed:
			err = e.subscribe(ps)
		case <-ping.C:
			if silent.Add(1) > silence {
				return
			}
			err = ps.Ping(canceled)
		case <-lost:
			return
		case <-e.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// A topic is the channel of a key that is watched, or was until just now.
type topic struct {
	watches    map[*watch]struct{}
	subscribed bool // SUBSCRIBE was sent last, and is or will be confirmed
}

// join adds a watch to those that get the news of its key.
func (e *Engine) join(w *watch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.topics[w.name]
	if t == nil {
		t = &topic{watches: make(map[*watch]struct{})}
		e.topics[w.name] = t
	}
	t.watches[w] = struct{}{}
	if t.subscribed {
		w.post(news{subscribed: true}) // and again, if that is not confirmed yet
	} else {
		e.changeLocked(w.name)
	}
}

func (e *Engine) leave(w *watch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.topics[w.name]
	delete(t.watches, w)
	if len(t.watches) == 0 {
		e.changeLocked(w.name)
	}
}

// changeLocked has serve update the subscription of a topic.
func (e *Engine) changeLocked(name string) {
	e.dirty[name] = struct{}{}
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// resubscribe subscribes a new connection to all topics.
func (e *Engine) resubscribe() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, t := range e.topics {
		t.subscribed = false
		e.changeLocked(name)
	}
}

// subscribe sends the subscriptions that have changed.
func (e *Engine) subscribe(ps *goredis.PubSub) error {
	var on, off []string
	e.mu.Lock()
	for name := range e.dirty {
		t := e.topics[name]
		switch wanted := len(t.watches) > 0; {
		case wanted && !t.subscribed:
			t.subscribed = true
			on = append(on, name)
		case !wanted && t.subscribed:
			off = append(off, name)
			fallthrough
		case !wanted:
			delete(e.topics, name)
		}
	}
	clear(e.dirty)
	e.mu.Unlock()
	if len(on) > 0 {
		if err := ps.Subscribe(canceled, on...); err != nil {
			return err
		}
	}
	if len(off) > 0 {
		return ps.Unsubscribe(canceled, off...)
	}
	return nil
}

// confirm makes the watches of a key read what is stored, now that the server
// sends what is published from here on. If another request for the same channel
// is not yet confirmed, they read too early, and read again when it is.
func (e *Engine) confirm(m *goredis.Subscription) {
	if m.Kind != "subscribe" {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.topics[m.Channel]; t != nil {
		for w := range t.watches {
			w.post(news{subscribed: true})
		}
	}
}

// deliver posts a message to the watches of its key.
func (e *Engine) deliver(m *goredis.Message) {
	r, err := parseNews(m.Payload)
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.topics[m.Channel]
	if t == nil {
		return
	}
	for w := range t.watches {
		if err != nil {
			w.post(news{subscribed: true}) // a message of an unknown form: read what is stored
		} else {
			w.post(news{record: r})
		}
	}
}
