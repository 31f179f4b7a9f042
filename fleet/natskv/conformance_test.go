// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package natskv_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/singleflight/fleet/internal/engine"
	"example.com/singleflight/fleet/internal/enginetest"
	"example.com/singleflight/fleet/natskv"
)

// store is what the suite needs of a bucket.
func store(js jetstream.JetStream, url, bucket string) enginetest.Store {
	return enginetest.Store{
		Connect: func(t testing.TB) (engine.Engine, func()) {
			e, err := natskv.Open(t.Context(), dial(t, url), bucket)
			if err != nil {
				t.Fatal(err)
			}
			return e, func() { e.Close() }
		},
		Oversize: 2 << 20, // the server's max_payload is 1 MiB
		Watches: func() int {
			s, err := js.Stream(context.Background(), "KV_"+bucket)
			if err != nil {
				return -1
			}
			return s.CachedInfo().State.Consumers
		},
	}
}

func TestConformance(t *testing.T) {
	s := serve(t, new(server.Options))
	js := dial(t, s.ClientURL())
	var buckets atomic.Int32
	enginetest.Run(t, func(t testing.TB) enginetest.Store {
		bucket := fmt.Sprint("bucket", buckets.Add(1))
		if err := natskv.CreateBucket(t.Context(), js, jetstream.KeyValueConfig{Bucket: bucket, TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
		return store(js, s.ClientURL(), bucket)
	})
}

func TestConformanceUnderFaults(t *testing.T) {
	enginetest.RunFaults(t, func(t testing.TB) enginetest.Store {
		opts := new(server.Options)
		s := serve(t, opts)
		js := dial(t, s.ClientURL())
		create(t, js, jetstream.KeyValueConfig{})
		l := newLine(t, s.ClientURL())
		st := store(js, l.url(), bucket)
		st.Stop = func(t testing.TB) (start func()) {
			stop(s)
			return func() { s = serve(t, opts) }
		}
		st.Freeze = func(testing.TB) (thaw func()) {
			l.cut()
			return l.mend
		}
		return st
	})
}
