// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrUnavailable is what [Group.Forget] returns, and DoContext of a Group
// with [RequireEngine], when the engine does not answer.
var ErrUnavailable = errors.New("fleet: the engine does not answer")

// What the engine says to a write, beside yes.
var (
	errTaken    = errors.New("fleet: another revision is there")
	errTooLarge = errors.New("fleet: more than the engine takes")
	errUnsent   = errors.New("fleet: it was not even asked")
)

var errDown = errors.New("the connection is down")

// An engine is a bucket, and what is asked of it: to write, if a revision is
// still the latest; to read the latest; and to watch.
type engine struct {
	js      jetstream.JetStream
	kv      jetstream.KeyValue
	timeout time.Duration // of a request

	read     string // subject of the API for it
	subjects string // prefix of what the bucket stores
	domain   string // prefix of that where it is written to
}

func newEngine(ctx context.Context, js jetstream.JetStream, bucket string, timeout time.Duration) (*engine, jetstream.KeyValueConfig, error) {
	kv, err := js.KeyValue(ctx, bucket)
	if err != nil {
		return nil, jetstream.KeyValueConfig{}, err
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, jetstream.KeyValueConfig{}, err
	}
	api, domain := jetstream.DefaultAPIPrefix, ""
	switch opt := js.Options(); {
	case opt.Domain != "":
		api = "$JS." + opt.Domain + ".API."
		domain = api
	case opt.APIPrefix != "":
		api = strings.TrimSuffix(opt.APIPrefix, ".") + "."
		domain = api
	}
	return &engine{
		js:       js,
		kv:       kv,
		timeout:  timeout,
		read:     api + "STREAM.MSG.GET.KV_" + bucket,
		subjects: "$KV." + bucket + ".",
		domain:   domain,
	}, status.Config(), nil
}

// request calls do with a context that ends when the engine's time is up, or
// as soon as the connection says that it is down.
func (e *engine) request(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ctx, stop := context.WithTimeoutCause(ctx, e.timeout, fmt.Errorf("no answer within %v", e.timeout))
	defer stop()
	down := e.down()
	defer e.js.Conn().RemoveStatusListener(down) // and so close it
	if !e.js.Conn().IsConnected() {
		return fmt.Errorf("%w: %w", errUnsent, errDown)
	}
	go func() {
		if _, ok := <-down; ok {
			cancel(errDown)
		}
	}()
	err := do(ctx)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
		return fmt.Errorf("%w: %w", errUnsent, err)
	}
	return err
}

// down returns a channel that receives when the connection goes down.
func (e *engine) down() chan nats.Status {
	return e.js.Conn().StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
}

// write replaces the record under name, if its revision is still expect, and
// returns the new one's. The record is kept for ttl, whole seconds.
//
// It is tempting to use KeyValue.Update, but that drops the time to live.
func (e *engine) write(ctx context.Context, name string, expect uint64, r record, ttl time.Duration) (rev uint64, err error) {
	m := nats.NewMsg(e.domain + e.subjects + name)
	if r.State != free {
		m.Data = r.encode()
	}
	if r.State != pending {
		// The bucket's key is released, and no marker is left when its time
		// is up: for a server, and for anyone's watch, this is one. That it
		// has a body is between us.
		m.Header.Set("KV-Operation", "PURGE")
	}
	err = e.request(ctx, func(ctx context.Context) error {
		ack, err := e.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(expect), jetstream.WithMsgTTL(ttl))
		if err == nil {
			rev = ack.Sequence
		}
		return err
	})
	if errors.Is(err, nats.ErrMaxPayload) {
		return 0, errTooLarge
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		switch api.ErrorCode {
		case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
			return 0, errTaken
		case jetstream.JSErrCodeStreamMessageExceedsMaximum, errCodeMaximumBytes:
			return 0, errTooLarge
		}
	}
	return rev, err
}

const errCodeMaximumBytes jetstream.ErrorCode = 10077 // has no name in package jetstream: the bucket is full

// latest returns the record under name.
//
// It is tempting to use KeyValue.Get, but a replica that lags behind may answer
// that, and a load that is over would seem to be pending. This asks the leader.
func (e *engine) latest(ctx context.Context, name string) (r record, err error) {
	ask, err := json.Marshal(map[string]string{"last_by_subj": e.subjects + name})
	if err != nil {
		return r, err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Seq  uint64 `json:"seq"`
			Data []byte `json:"data"`
		} `json:"message"`
	}
	err = e.request(ctx, func(ctx context.Context) error {
		m, err := e.js.Conn().RequestWithContext(ctx, e.read, ask)
		if err != nil {
			return err
		}
		return json.Unmarshal(m.Data, &answer)
	})
	switch {
	case err != nil:
		return r, err
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return record{gone: true}, nil
	case answer.Error != nil:
		return r, answer.Error
	case answer.Message.Seq == 0:
		return r, errors.New("the answer has no message")
	}
	return decode(answer.Message.Data, answer.Message.Seq), nil
}

// watch returns a channel that receives what is, and from then on what comes,
// under key, until stop is called. It is closed if the watch cannot be had.
func (e *engine) watch(key string) (_ <-chan jetstream.KeyValueEntry, stop func()) {
	stopped, stop := context.WithCancel(context.Background())
	updates := make(chan jetstream.KeyValueEntry)
	go func() {
		defer close(updates)
		// It is tempting to make it with stopped. But if a watch is broken off
		// before its answer is there, it stays with the server for seconds.
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		late := time.AfterFunc(e.timeout, cancel)
		w, err := e.kv.Watch(ctx, key+".*")
		if !late.Stop() || err != nil {
			return
		}
		for {
			select {
			case u, ok := <-w.Updates():
				if !ok {
					return
				}
				select {
				case updates <- u:
					continue
				case <-stopped.Done():
				}
			case <-stopped.Done():
			}
			cancel()
			// Who sends to it may be stuck, and close it only after that; or
			// never, where the connection was closed at the wrong moment.
			for quiet := false; !quiet; {
				select {
				case _, open := <-w.Updates():
					quiet = !open
				case <-time.After(again):
					quiet = true
				}
			}
			return
		}
	}()
	return updates, stop
}
