// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package natskv

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/singleflight/fleet/internal/engine"
)

// Write is for package fleet.
func (e *Engine) Write(ctx context.Context, name engine.Name, put engine.Put) (rev uint64, err error) {
	// It is tempting to use KeyValue.Update, but that drops the time to live.
	// JetStream.PublishMsg has a time limit of its own if ctx has none.
	//
	// A write reaches the server at most once, so it needs no ID by which the
	// server would recognize a repetition. What the client has buffered when
	// the connection breaks, it sends to the next server or not at all, but not
	// twice; and send repeats only a request that reached no server.
	m := nats.NewMsg(e.domain + e.subject(name))
	m.Data = bytes.Clone(put.Data) // it may be sent after ctx is done
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(put.Expect, 10))
	m.Header.Set(jetstream.MsgTTLHeader, put.TTL.String())
	if put.Quiet {
		// The server leaves no marker when a purged key expires. So a quiet
		// record is stored as a purge; the message has a body nevertheless.
		m.Header.Set("KV-Operation", "PURGE")
	}
	var ack struct {
		Error *jetstream.APIError `json:"error"`
		Seq   uint64              `json:"seq"`
	}
	err = e.ask(ctx, m, &ack)
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return 0, fmt.Errorf("%w: %w", engine.ErrTooLarge, err)
	case err != nil:
		return 0, err
	case ack.Error != nil:
		return 0, refusal(ack.Error)
	case ack.Seq == 0:
		return 0, errors.New("the answer has no revision")
	}
	return ack.Seq, nil
}

// errCodeStoreFailed has no name in package jetstream. The description says what
// has failed.
const errCodeStoreFailed jetstream.ErrorCode = 10077

// refusal returns the error of Write for an error of the server. Only the errors
// named here mean that the message will certainly not be stored.
func refusal(err *jetstream.APIError) error {
	switch err.ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant:
		// The latter says that another write of the record is under way, in a
		// cluster; whether it will succeed is not known yet.
		return engine.ErrTaken
	case jetstream.JSErrCodeStreamMessageExceedsMaximum:
		return fmt.Errorf("%w: %w", engine.ErrTooLarge, err)
	case errCodeStoreFailed:
		// It is tempting to leave out the comparison, but a leader that is being
		// shut down also answers with this code (“store is closed”), and the
		// other servers may store the message nevertheless.
		if d := err.Description; strings.Contains(d, "maximum bytes") || strings.Contains(d, "too large") {
			return fmt.Errorf("%w: %w", engine.ErrTooLarge, err)
		}
	}
	return err
}

// Latest is for package fleet.
func (e *Engine) Latest(ctx context.Context, name engine.Name) (engine.Entry, error) {
	// It is tempting to use KeyValue.Get, but a replica that lags may answer it,
	// and a load that has ended would seem to be pending. This asks the leader.
	question, err := json.Marshal(map[string]string{"last_by_subj": e.subject(name)})
	if err != nil {
		return engine.Entry{}, err
	}
	m := nats.NewMsg(e.read)
	m.Data = question
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Seq  uint64    `json:"seq"`
			Data []byte    `json:"data"`
			Time time.Time `json:"time"`
		} `json:"message"`
	}
	err = e.ask(ctx, m, &answer)
	switch {
	case err != nil:
		return engine.Entry{}, err
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return engine.Entry{Part: name.Part, Gone: true}, nil
	case answer.Error != nil:
		return engine.Entry{}, answer.Error
	case answer.Message.Seq == 0:
		return engine.Entry{}, errors.New("the answer has no message")
	}
	return engine.Entry{
		Part: name.Part,
		Rev:  answer.Message.Seq,
		Data: answer.Message.Data,
		Time: answer.Message.Time,
	}, nil
}

var errDown = errors.New("the connection is down")

// ask sends m to the server, and decodes its answer.
func (e *Engine) ask(ctx context.Context, m *nats.Msg, answer any) error {
	switch {
	case e.life.Err() != nil:
		return engine.ErrClosed
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", engine.ErrUnsent, context.Cause(ctx))
	}
	ctx, cancel := e.until(ctx)
	defer cancel()
	reply, err := within(ctx, func() (*nats.Msg, error) { return e.send(ctx, m) })
	if err != nil {
		return err
	}
	return json.Unmarshal(reply.Data, answer)
}

// If no server takes a request, for example because the bucket's leader is
// handing over to another, it is sent again after a while. The client does the
// same for PublishMsg. The client returns ErrNoResponders only if the request
// reached no server.
const (
	resend  = 250 * time.Millisecond
	resends = 2
)

// send sends m, and returns the answer.
func (e *Engine) send(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	for tries := 0; ; tries++ {
		switch {
		case e.conn.IsClosed():
			return nil, fmt.Errorf("%w: %w", engine.ErrClosed, nats.ErrConnectionClosed)
		case !e.conn.IsConnected():
			// The client would buffer the request, and send it when it is
			// connected again.
			return nil, fmt.Errorf("%w: %w", engine.ErrUnsent, errDown)
		}
		reply, err := e.conn.RequestMsgWithContext(ctx, m)
		switch {
		case errors.Is(err, nats.ErrNoResponders):
			err = fmt.Errorf("%w: %w", engine.ErrUnsent, err)
			if tries == resends {
				return nil, err
			}
		case errors.Is(err, nats.ErrConnectionDraining), errors.Is(err, nats.ErrReconnectBufExceeded):
			return nil, fmt.Errorf("%w: %w", engine.ErrUnsent, err)
		default:
			return reply, err
		}
		select {
		case <-time.After(resend):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// until returns a context that is done when ctx is, or the Engine is closed.
func (e *Engine) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(e.life, func() { cancel(errors.New("the engine was closed before the answer came")) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// within returns what do returns, or the cause of ctx's end when that comes
// first. The client heeds a context while it waits for an answer, but not
// while it writes to a connection that takes nothing.
func within[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := do()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		if r.err != nil && ctx.Err() != nil && errors.Is(r.err, ctx.Err()) {
			r.err = context.Cause(ctx)
		}
		return r.v, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
