// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package natskv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/singleflight/fleet/internal/engine"
)

// An Engine is a bucket of NATS JetStream, for fleet.New. It is made by [Open]
// and safe for concurrent use. Its other methods are for package fleet.
type Engine struct {
	conn   *nats.Conn
	kv     jetstream.KeyValue
	bucket string
	limits engine.Limits

	read     string // subject of the API that reads from the bucket's leader
	subjects string // prefix of the subjects that the bucket stores
	domain   string // put before it in writes to another domain

	life context.Context // done after Close
	end  context.CancelFunc

	mu   sync.Mutex
	up   bool          // as the connection last reported
	down chan struct{} // closed unless up
}

var _ engine.Engine = (*Engine)(nil)

// Open returns an Engine on the bucket, which [CreateBucket] makes. It asks the
// server at once, within ctx, whether the bucket exists and has the right
// configuration; the error says what is wrong and how to fix it.
//
// Close the Engine when nothing uses it any more, and only then the connection.
func Open(ctx context.Context, js jetstream.JetStream, bucket string) (*Engine, error) {
	if js == nil {
		return nil, errors.New("natskv: nil JetStream")
	}
	e := &Engine{conn: js.Conn(), bucket: bucket, subjects: "$KV." + bucket + "."}
	cfg, err := within(ctx, func() (cfg jetstream.KeyValueConfig, err error) {
		e.kv, err = js.KeyValue(ctx, bucket)
		if err != nil {
			return cfg, err
		}
		status, err := e.kv.Status(ctx)
		if err != nil {
			return cfg, err
		}
		return status.Config(), nil
	})
	switch {
	case errors.Is(err, jetstream.ErrBucketNotFound):
		return nil, fmt.Errorf("natskv: there is no bucket %q; make it with CreateBucket, or: nats kv add %s --marker-ttl=1s: %w", bucket, bucket, err)
	case err != nil:
		return nil, fmt.Errorf("natskv: bucket %q: %w", bucket, err)
	case cfg.Mirror != nil:
		return nil, fmt.Errorf("natskv: bucket %q is a mirror of %q, and cannot be written; use that", bucket, cfg.Mirror.Name)
	case cfg.LimitMarkerTTL == 0:
		return nil, fmt.Errorf("natskv: bucket %q cannot announce that a lease is over; make one that can with CreateBucket, or: nats kv add %s --marker-ttl=1s", bucket, bucket)
	case cfg.History > 1:
		return nil, fmt.Errorf("natskv: bucket %q keeps a history of %d, so expired records would come back; make one that keeps 1", bucket, cfg.History)
	}
	e.limits = engine.Limits{Granularity: time.Second, MaxTTL: cfg.TTL}

	api := jetstream.DefaultAPIPrefix
	switch opt := js.Options(); {
	case opt.Domain != "":
		api = "$JS." + opt.Domain + ".API."
		e.domain = api
	case opt.APIPrefix != "":
		api = strings.TrimSuffix(opt.APIPrefix, ".") + "."
		e.domain = api
	}
	e.read = api + "STREAM.MSG.GET.KV_" + bucket

	e.life, e.end = context.WithCancel(context.Background())
	e.listen()
	return e, nil
}

// CreateBucket makes a bucket for an [Engine]. Every process may call it with
// the same cfg: if the bucket exists with that configuration, it does nothing.
// cfg.Bucket is required, and cfg.Replicas should be 3 in a cluster; other
// fields may be zero.
func CreateBucket(ctx context.Context, js jetstream.JetStream, cfg jetstream.KeyValueConfig) error {
	if js == nil {
		return errors.New("natskv: nil JetStream")
	}
	if cfg.History > 1 {
		return fmt.Errorf("natskv: bucket %q: History %d: want 1, since expired records would come back", cfg.Bucket, cfg.History)
	}
	if cfg.LimitMarkerTTL == 0 {
		cfg.LimitMarkerTTL = time.Second
	}
	if _, err := js.CreateKeyValue(ctx, cfg); err != nil {
		return fmt.Errorf("natskv: bucket %q: %w", cfg.Bucket, err)
	}
	return nil
}

// Close closes the Engine, but not the connection. For Groups on the Engine it is
// down from then on. Close returns nil. A second Close does nothing.
func (e *Engine) Close() error {
	e.end()
	e.set(false)
	return nil
}

// Limits is for package fleet.
func (e *Engine) Limits() engine.Limits { return e.limits }

// String returns the name of the Engine in errors and logs.
func (e *Engine) String() string { return fmt.Sprintf("bucket %q", e.bucket) }
