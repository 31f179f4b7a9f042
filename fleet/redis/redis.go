// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"example.com/singleflight/fleet/internal/engine"
)

// An Engine is a set of keys and channels in Redis, for fleet.New. It is made by
// [Open], and is safe for concurrent use. Several Groups may share it if equal
// keys mean the same in all of them. Its methods other than Close are for package
// fleet.
type Engine struct {
	client goredis.UniversalClient
	prefix string

	ctx     context.Context // done after Close
	cancel  context.CancelFunc
	running sync.WaitGroup // goroutines that Close waits for

	changed chan struct{} // has an element when dirty has

	mu     sync.Mutex
	down   chan struct{} // closed while the connection for updates is down
	isDown bool
	topics map[string]*topic   // by the name of the Redis key
	dirty  map[string]struct{} // topics whose subscription may have to change
}

var _ engine.Engine = (*Engine)(nil)

// Open returns an Engine that keeps its records under names that begin with
// the prefix and a colon. It asks Redis at once, within ctx, whether the server
// and the permissions are sufficient; the error says what is wrong.
//
// The client may be one of a single server, of Sentinel or of a cluster. The
// Engine never closes it; close it after the Engine.
func Open(ctx context.Context, client goredis.UniversalClient, prefix string) (*Engine, error) {
	switch c := client.(type) {
	case nil:
		return nil, errors.New("redis: nil client")
	case *goredis.Client:
		if c == nil {
			return nil, errors.New("redis: nil client")
		}
	case *goredis.ClusterClient:
		if c == nil {
			return nil, errors.New("redis: nil client")
		}
	case *goredis.Ring:
		return nil, errors.New("redis: a Ring has no server that sends updates to all processes; use a single server, Sentinel or a cluster")
	}
	if prefix == "" || strings.ContainsAny(prefix, "{}") {
		return nil, fmt.Errorf("redis: prefix %q: want at least one character, and no braces", prefix)
	}
	e := &Engine{
		client:  client,
		prefix:  prefix,
		changed: make(chan struct{}, 1),
		down:    make(chan struct{}),
		topics:  make(map[string]*topic),
		dirty:   make(map[string]struct{}),
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if err := e.check(ctx); err != nil {
		e.cancel()
		return nil, fmt.Errorf("redis: prefix %q: %w", prefix, err)
	}
	ps, err := heed(ctx, func(ctx context.Context) (*goredis.PubSub, error) {
		ps, err := e.connect(ctx)
		if err == nil && ctx.Err() != nil {
			ps.Close() // Open has returned
			err = ctx.Err()
		}
		return ps, err
	})
	if err != nil {
		e.cancel()
		return nil, fmt.Errorf("redis: prefix %q: subscribing: %w", prefix, err)
	}
	e.running.Go(func() { e.listen(ps) })
	return e, nil
}

// Close closes the Engine and its connection for updates, but not the client.
// Requests under way fail. For Groups on the Engine it is down from then on.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.cancel() // with the lock held, so that no watch begins now
	e.mu.Unlock()
	e.setDown()
	e.running.Wait()
	return nil
}

// String returns the name of the Engine in errors and logs.
func (e *Engine) String() string { return fmt.Sprintf("Redis prefix %q", e.prefix) }

// Limits is for package fleet.
func (e *Engine) Limits() engine.Limits {
	return engine.Limits{Granularity: time.Millisecond}
}

// Down is for package fleet.
func (e *Engine) Down() <-chan struct{} {
	// The connection for updates decides, since there always is one, and it is
	// pinged. When it is lost, and the first attempts to replace it fail or take
	// longer than grace, the Engine is down until there is another one.
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.down
}

func (e *Engine) setDown() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.isDown {
		e.isDown = true
		close(e.down)
	}
}

func (e *Engine) setUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.isDown && e.ctx.Err() == nil {
		e.isDown = false
		e.down = make(chan struct{})
	}
}

// check returns an error that says what cannot work.
func (e *Engine) check(ctx context.Context) error {
	_, err := heed(ctx, func(ctx context.Context) (struct{}, error) {
		if cluster, ok := e.client.(*goredis.ClusterClient); ok {
			return struct{}{}, cluster.ForEachMaster(ctx, func(ctx context.Context, c *goredis.Client) error {
				return checkInfo(ctx, c)
			})
		}
		return struct{}{}, checkInfo(ctx, e.client)
	})
	if err != nil {
		return err
	}
	// Run the scripts under a name that no key has, to see whether all their
	// commands are allowed.
	probe := e.probe() + ":" + rand.Text()
	rev, err := e.write(ctx, probe, "probe", engine.Put{TTL: time.Millisecond, Quiet: true})
	if err == nil && rev == 0 {
		err = errors.New("a write of a new name was refused")
	}
	if err == nil {
		_, err = e.list(ctx, probe)
	}
	if code(err) == "READONLY" {
		return fmt.Errorf("this is a replica, which cannot be written; connect to its master: %w", err)
	}
	return err
}

// checkInfo returns an error if INFO shows something that cannot work. It is no
// error if INFO cannot be read: the user may lack the permission, or a node of
// the cluster may be down.
func checkInfo(ctx context.Context, c interface {
	Info(ctx context.Context, section ...string) *goredis.StringCmd
}) error {
	text, err := c.Info(ctx).Result()
	if err != nil {
		return nil
	}
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	major, _, _ := strings.Cut(info["redis_version"], ".")
	if n, err := strconv.Atoi(major); err == nil && n < 6 {
		return fmt.Errorf("version %s of the server is too old; want 6.0 or later", info["redis_version"])
	}
	if info["role"] == "slave" {
		return fmt.Errorf("this is a replica, which cannot be written; connect to its master, %s:%s", info["master_host"], info["master_port"])
	}
	policy, limit := info["maxmemory_policy"], info["maxmemory"]
	if policy != "" && policy != "noeviction" && limit != "0" {
		return fmt.Errorf("maxmemory-policy is %s, by which a server that is full evicts leases; want noeviction", policy)
	}
	return nil
}

// name returns the name of the Redis key, and of the channel, of a key. A prefix
// has no braces, so names with different prefixes differ. To Redis the text
// between the braces is a hash tag, which does no harm: no two Redis keys have to
// be in one slot.
func (e *Engine) name(key string) string {
	if len(key) > maxKey {
		return e.prefix + ":sha256:" + digest(key)
	}
	return e.prefix + ":{" + key + "}"
}

// probe returns the name of a channel without messages. The names of the records
// that check writes begin with it.
func (e *Engine) probe() string { return e.prefix + ":probe" }

// maxKey is the length of the longest key that names contain; longer keys are
// hashed.
const maxKey = 512

// heed calls do, and returns its results, or an error as soon as ctx is done.
// Without ContextTimeoutEnabled, a client that waits for a silent server heeds
// only its own timeouts.
func heed[T any](ctx context.Context, do func(context.Context) (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := do(ctx)
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		select {
		case r := <-done:
			return r.v, r.err
		default:
			var zero T
			return zero, context.Cause(ctx)
		}
	}
}
