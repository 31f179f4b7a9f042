// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package natskv_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/singleflight/fleet/internal/engine"
	"example.com/singleflight/fleet/internal/fleettest"
	"example.com/singleflight/fleet/natskv"
)

// newServer returns a server with a bucket, and a connection to it.
func newServer(t testing.TB) (*server.Server, jetstream.JetStream) {
	t.Helper()
	s := serve(t, new(server.Options))
	js := dial(t, s.ClientURL())
	create(t, js, jetstream.KeyValueConfig{})
	return s, js
}

func name(key string) engine.Name { return engine.Name{Key: key, Part: "now"} }

// write writes data over what has that revision, and returns the new one.
func write(t testing.TB, e *natskv.Engine, name engine.Name, expect uint64, data string) uint64 {
	t.Helper()
	rev, err := e.Write(t.Context(), name, engine.Put{Expect: expect, Data: []byte(data), TTL: time.Hour})
	if err != nil || rev == 0 {
		t.Fatalf("Write(%.20q over %d): %d, %v", name.Key, expect, rev, err)
	}
	return rev
}

// wantData fails the test unless data is stored under name at that revision.
func wantData(t testing.TB, e *natskv.Engine, name engine.Name, rev uint64, data string) {
	t.Helper()
	got, err := e.Latest(t.Context(), name)
	if err != nil || got.Part != name.Part || got.Rev != rev || string(got.Data) != data || got.Gone {
		t.Errorf("Latest(%.20q): %+v, %v, want %q at %d", name.Key, got, err, data, rev)
	}
	if d := time.Since(got.Time); d < 0 || d > fleettest.Patience {
		t.Errorf("Latest(%.20q): written %v ago", name.Key, d)
	}
}

// next is what a watch brings next; false if it is closed.
func next(t testing.TB, updates <-chan engine.Entry) (engine.Entry, bool) {
	t.Helper()
	late := time.After(fleettest.Patience)
	for {
		select {
		case u, open := <-updates:
			if open && u.Part == "" { // the watch has sent all that is stored
				continue
			}
			return u, open
		case <-late:
			t.Fatalf("no news within %v", fleettest.Patience)
		}
	}
}

func wantClosed[T any](t testing.TB, what string, c <-chan T, within time.Duration) {
	t.Helper()
	late := time.After(within)
	for {
		select {
		case _, open := <-c:
			if !open {
				return
			}
		case <-late:
			t.Fatalf("%s: not closed within %v", what, within)
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Opening.

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	s, js := newServer(t)
	for name, cfg := range map[string]jetstream.KeyValueConfig{
		"deaf":   {},
		"long":   {LimitMarkerTTL: time.Second, History: 5},
		"mirror": {Mirror: &jetstream.StreamSource{Name: bucket}},
	} {
		cfg.Bucket = name
		if _, err := js.CreateKeyValue(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	for bucket, want := range map[string]string{
		"missing":    `natskv: there is no bucket "missing"; make it with CreateBucket, or: nats kv add missing --marker-ttl=1s`,
		"deaf":       `natskv: bucket "deaf" cannot announce that a lease is over; make one that can with CreateBucket, or: nats kv add deaf --marker-ttl=1s`,
		"long":       `natskv: bucket "long" keeps a history of 5, so expired records would come back`,
		"mirror":     `natskv: bucket "mirror" is a mirror of "KV_flights"`,
		"not a name": `natskv: bucket "not a name": `,
	} {
		e, err := natskv.Open(t.Context(), js, bucket)
		if e != nil || err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Open(%q): %v, want %s", bucket, err, want)
		}
		if isMissing := bucket == "missing"; errors.Is(err, jetstream.ErrBucketNotFound) != isMissing {
			t.Errorf("Open(%q): %v is ErrBucketNotFound: %v, want %v", bucket, err, !isMissing, isMissing)
		}
	}
	if _, err := natskv.Open(t.Context(), nil, bucket); err == nil {
		t.Error("Open of no JetStream: no error")
	}
	stop(s)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := natskv.Open(ctx, js, bucket); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Open without a server: %v, want deadline exceeded", err)
	}
	js.Conn().Close()
	if _, err := natskv.Open(t.Context(), js, bucket); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("Open on a closed connection: %v, want ErrConnectionClosed", err)
	}
}

func TestCreateBucket(t *testing.T) {
	t.Parallel()
	_, js := newServer(t)
	e := open(t, js)
	rev := write(t, e, name("k"), 0, "v")
	create(t, js, jetstream.KeyValueConfig{}) // again
	wantData(t, e, name("k"), rev, "v")

	if err := natskv.CreateBucket(t.Context(), nil, jetstream.KeyValueConfig{Bucket: bucket}); err == nil {
		t.Error("CreateBucket of no JetStream: no error")
	}
	if err := natskv.CreateBucket(t.Context(), js, jetstream.KeyValueConfig{Bucket: "history", History: 2}); err == nil {
		t.Error("CreateBucket with a history: no error")
	}
	err := natskv.CreateBucket(t.Context(), js, jetstream.KeyValueConfig{Bucket: bucket, MaxBytes: 1 << 20})
	if !errors.Is(err, jetstream.ErrBucketExists) {
		t.Errorf("CreateBucket with another configuration: %v, want ErrBucketExists", err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	s := serve(t, new(server.Options))
	js := dial(t, s.ClientURL())
	create(t, js, jetstream.KeyValueConfig{TTL: 5 * time.Second})
	e := open(t, js)
	if got, want := e.Limits(), (engine.Limits{Granularity: time.Second, MaxTTL: 5 * time.Second}); got != want {
		t.Errorf("Limits: %+v, want %+v", got, want)
	}
	if got, want := e.String(), `bucket "flights"`; got != want {
		t.Errorf("String: %s, want %s", got, want)
	}
}

func TestDomain(t *testing.T) {
	t.Parallel()
	s := serve(t, &server.Options{JetStreamDomain: "hub"})
	js := dial(t, s.ClientURL())
	create(t, js, jetstream.KeyValueConfig{})
	local := open(t, js)
	for as, js := range map[string]func() (jetstream.JetStream, error){
		"domain":            func() (jetstream.JetStream, error) { return jetstream.NewWithDomain(js.Conn(), "hub") },
		"prefix":            func() (jetstream.JetStream, error) { return jetstream.NewWithAPIPrefix(js.Conn(), "$JS.hub.API") },
		"prefix with a dot": func() (jetstream.JetStream, error) { return jetstream.NewWithAPIPrefix(js.Conn(), "$JS.hub.API.") },
	} {
		js, err := js()
		if err != nil {
			t.Fatal(err)
		}
		e := open(t, js)
		updates := e.Watch(t.Context(), as)
		rev := write(t, local, name(as), 0, "v")
		wantData(t, e, name(as), rev, "v")
		if u, _ := next(t, updates); u.Rev != rev || u.Part != "now" || string(u.Data) != "v" {
			t.Errorf("a watch with a %s brings %+v, want v at %d", as, u, rev)
		}
		rev = write(t, e, name(as), rev, "w")
		wantData(t, local, name(as), rev, "w")
	}
}

// A client of a leaf node reaches the bucket of the hub, and not the one of
// that name beside it.
func TestDomainBehindALeafNode(t *testing.T) {
	t.Parallel()
	hubOpts := &server.Options{ServerName: "hub", JetStreamDomain: "hub", LeafNode: server.LeafNodeOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT}}
	hub := serve(t, hubOpts)
	atHub := dial(t, hub.ClientURL())
	create(t, atHub, jetstream.KeyValueConfig{})
	to := &url.URL{Scheme: "nats-leaf", Host: fmt.Sprint("127.0.0.1:", hubOpts.LeafNode.Port)}
	leaf := serve(t, &server.Options{ServerName: "leaf", JetStreamDomain: "leaf",
		LeafNode: server.LeafNodeOpts{Remotes: []*server.RemoteLeafOpts{{URLs: []*url.URL{to}}}}})
	fleettest.Until(t, "the leaf node", func() bool { return hub.NumLeafNodes() == 1 })
	atLeaf := dial(t, leaf.ClientURL())
	create(t, atLeaf, jetstream.KeyValueConfig{})
	js, err := jetstream.NewWithDomain(atLeaf.Conn(), "hub")
	if err != nil {
		t.Fatal(err)
	}
	e := open(t, js)
	updates := e.Watch(t.Context(), "k")
	rev := write(t, e, name("k"), 0, "v")
	wantData(t, e, name("k"), rev, "v")
	wantData(t, open(t, atHub), name("k"), rev, "v")
	if u, _ := next(t, updates); u.Rev != rev {
		t.Errorf("the watch brings %+v, want revision %d", u, rev)
	}
	if n := streamInfo(t, atLeaf).State.LastSeq; n != 0 {
		t.Errorf("%d writes at the leaf, want none", n)
	}
}

// What a user of the server needs to be allowed, as the README lists it.
func TestPermissions(t *testing.T) {
	t.Parallel()
	allow := func(subjects ...string) *server.SubjectPermission { return &server.SubjectPermission{Allow: subjects} }
	s := serve(t, &server.Options{Users: []*server.User{
		{Username: "admin", Password: "a"},
		{Username: "fleet", Password: "f", Permissions: &server.Permissions{
			Publish: allow("$KV.flights.>",
				"$JS.API.STREAM.INFO.KV_flights", "$JS.API.STREAM.MSG.GET.KV_flights",
				"$JS.API.CONSUMER.CREATE.KV_flights.>", "$JS.API.CONSUMER.DELETE.KV_flights.>", "$JS.FC.>"),
			Subscribe: allow("_INBOX.>"),
		}},
	}})
	admin := dial(t, s.ClientURL(), nats.UserInfo("admin", "a"))
	create(t, admin, jetstream.KeyValueConfig{})
	var denied atomic.Value
	e := open(t, dial(t, s.ClientURL(), nats.UserInfo("fleet", "f"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied.Store(err) })))

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	updates := e.Watch(ctx, "k")
	rev := write(t, e, name("k"), 0, "v")
	wantData(t, e, name("k"), rev, "v")
	if u, _ := next(t, updates); u.Rev != rev {
		t.Errorf("the watch brings %+v, want revision %d", u, rev)
	}
	if _, err := e.Write(t.Context(), name("k"), engine.Put{Expect: rev, TTL: time.Second, Quiet: true}); err != nil {
		t.Errorf("releasing: %v", err)
	}
	next(t, updates)
	cancel()
	fleettest.Until(t, "the end of the watch", func() bool { return streamInfo(t, admin).State.Consumers == 0 })
	fleettest.Until(t, "an empty bucket", func() bool { return streamInfo(t, admin).State.Msgs == 0 })
	if err := denied.Load(); err != nil {
		t.Errorf("denied: %v", err)
	}
}

// Names.

func TestKeysOfAnyContent(t *testing.T) {
	t.Parallel()
	_, js := newServer(t)
	e := open(t, js)
	long := strings.Repeat("long", 10_000)
	keys := []string{
		"", " ", "=", "=_", "=20", "=2E", ".", "..", "a.b", "a=2Eb", "*", ">", "a.*", "a.>", "now", "a.now", "$KV", "\x00", "\r\n",
		"\xff", "ключ", "k", "K", "a/b", "a_b", "a-b", long, long + "x", long[:85], long[:86],
	}
	revs := make([]uint64, len(keys))
	for i, key := range keys {
		revs[i] = write(t, e, name(key), 0, fmt.Sprint(i)) // nothing is there, so no other key has the name
	}
	for i, key := range keys {
		wantData(t, e, name(key), revs[i], fmt.Sprint(i))
	}
	for i, key := range keys {
		updates := e.Watch(t.Context(), key)
		if u, _ := next(t, updates); u.Part != "now" || string(u.Data) != fmt.Sprint(i) {
			t.Errorf("the watch of %.20q brings %+v, want %d", key, u, i)
		}
		other := write(t, e, engine.Name{Key: key, Part: "OTHER"}, 0, "other")
		if u, _ := next(t, updates); u.Part != "OTHER" || u.Rev != other {
			t.Errorf("the watch of %.20q brings %+v, want OTHER at %d", key, u, other)
		}
	}
}

// Writing.

func TestWhatWriteSays(t *testing.T) {
	t.Parallel()
	_, js := newServer(t)
	for bucket, cfg := range map[string]jetstream.KeyValueConfig{"values": {MaxValueSize: 1 << 10}, "full": {MaxBytes: 100 << 10}, "deleted": {}} {
		cfg.Bucket = bucket
		if err := natskv.CreateBucket(t.Context(), js, cfg); err != nil {
			t.Fatal(err)
		}
	}
	closed := dial(t, js.Conn().ConnectedUrl())
	down := newLine(t, js.Conn().ConnectedUrl())
	lost := dial(t, down.url())
	done, cancel := context.WithCancel(t.Context())
	cancel()

	for what, tt := range map[string]struct {
		ctx    context.Context
		js     jetstream.JetStream
		bucket string
		expect uint64
		size   int
		before func(*natskv.Engine)
		want   error
	}{
		"something is there": {bucket: bucket, want: engine.ErrTaken, before: func(e *natskv.Engine) {
			write(t, e, name("something is there"), 0, "v")
		}},
		"nothing is there":                 {bucket: "values", expect: 1, want: engine.ErrTaken},
		"more than the connection carries": {bucket: bucket, size: 2 << 20, want: engine.ErrTooLarge},
		"more than the bucket allows":      {bucket: "values", size: 2 << 10, want: engine.ErrTooLarge},
		"more than the bucket holds":       {bucket: "full", size: 200 << 10, want: engine.ErrTooLarge},
		"ctx is done":                      {bucket: bucket, ctx: done, want: engine.ErrUnsent},
		"the bucket was deleted": {bucket: "deleted", want: engine.ErrUnsent, before: func(*natskv.Engine) {
			if err := js.DeleteKeyValue(t.Context(), "deleted"); err != nil {
				t.Fatal(err)
			}
		}},
		"the connection is down": {js: lost, bucket: bucket, want: engine.ErrUnsent, before: func(*natskv.Engine) {
			down.drop()
			fleettest.Until(t, "the client to notice", func() bool { return !lost.Conn().IsConnected() })
		}},
		"the connection was closed": {js: closed, bucket: bucket, want: engine.ErrClosed, before: func(*natskv.Engine) { closed.Conn().Close() }},
		"the Engine was closed":     {bucket: bucket, want: engine.ErrClosed, before: func(e *natskv.Engine) { e.Close() }},
	} {
		if tt.js == nil {
			tt.js = js
		}
		if tt.ctx == nil {
			tt.ctx = enough(t, fleettest.Patience)
		}
		e, err := natskv.Open(t.Context(), tt.js, tt.bucket)
		if err != nil {
			t.Fatal(err)
		}
		if tt.before != nil {
			tt.before(e)
		}
		rev, err := e.Write(tt.ctx, name(what), engine.Put{Expect: tt.expect, Data: make([]byte, tt.size), TTL: time.Hour})
		if rev != 0 || !errors.Is(err, tt.want) {
			t.Errorf("%s: %d, %v, want %v", what, rev, err, tt.want)
		}
		e.Close()
	}
}

// A leader that hands over to another takes nothing for a moment. The write
// is sent again, and stored once.
func TestWriteWaitsForALeader(t *testing.T) {
	t.Parallel()
	s, js := newServer(t)
	own := dial(t, s.ClientURL())
	e := open(t, own)
	cid, err := own.Conn().GetClientID()
	if err != nil {
		t.Fatal(err)
	}
	sent := func() int64 {
		z, err := s.Connz(&server.ConnzOptions{CID: cid})
		if err != nil {
			t.Fatal(err)
		}
		return z.Conns[0].InMsgs
	}
	if err := js.DeleteKeyValue(t.Context(), bucket); err != nil {
		t.Fatal(err)
	}
	before := sent()
	answered := make(chan error, 1)
	go func() {
		_, err := e.Write(t.Context(), name("k"), engine.Put{Data: []byte("v"), TTL: time.Hour})
		answered <- err
	}()
	fleettest.Until(t, "the write", func() bool { return sent() > before })
	create(t, js, jetstream.KeyValueConfig{})
	if err := <-answered; err != nil {
		t.Errorf("Write: %v", err)
	}
	if n := streamInfo(t, js).State.LastSeq; n != 1 {
		t.Errorf("%d writes, want 1", n)
	}
}

// A record that is not Quiet leaves a marker when it expires, and one that is
// leaves nothing.
func TestExpiry(t *testing.T) {
	t.Parallel()
	_, js := newServer(t)
	e := open(t, js)
	updates := e.Watch(t.Context(), "k")
	began := time.Now()
	revs := make(map[string]uint64)
	for part, quiet := range map[string]bool{"quiet": true, "loud": false} {
		rev, err := e.Write(t.Context(), engine.Name{Key: "k", Part: part}, engine.Put{Data: []byte("v"), TTL: time.Second, Quiet: quiet})
		if err != nil {
			t.Fatal(err)
		}
		revs[part] = rev
		next(t, updates)
	}
	u, _ := next(t, updates)
	if u.Part != "loud" || u.Rev <= revs["loud"] || len(u.Data) != 0 || u.Gone || u.Time.IsZero() {
		t.Errorf("the watch brings %+v, want a marker of the loud record", u)
	}
	if d := time.Since(began); d < time.Second || d > 2*time.Second+500*time.Millisecond {
		t.Errorf("the marker came after %v, want 1 to 2 seconds", d)
	}
	_, err := e.Write(t.Context(), engine.Name{Key: "k", Part: "loud"}, engine.Put{TTL: time.Second, Quiet: true})
	if err != engine.ErrTaken {
		t.Errorf("a write over the marker that expects nothing: %v, want ErrTaken", err)
	}
	rev, err := e.Write(t.Context(), engine.Name{Key: "k", Part: "loud"}, engine.Put{Expect: u.Rev, TTL: time.Second, Quiet: true})
	if err != nil {
		t.Errorf("a write over the marker: %v", err)
	}
	if u, _ := next(t, updates); u.Rev != rev || len(u.Data) != 0 {
		t.Errorf("the watch brings %+v, want a release at %d", u, rev)
	}
	fleettest.Until(t, "an empty bucket", func() bool { return streamInfo(t, js).State.Msgs == 0 })
	got, err := e.Latest(t.Context(), engine.Name{Key: "k", Part: "loud"})
	if want := (engine.Entry{Part: "loud", Gone: true}); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("Latest: %+v, %v, want %+v", got, err, want)
	}
	last := streamInfo(t, js).State.LastSeq
	if want := rev; last != want {
		t.Errorf("the last revision is %d, want %d: a quiet record left a marker", last, want)
	}
}

// Watching.

func TestWatchEnds(t *testing.T) {
	t.Parallel()
	s, js := newServer(t)
	watches := func(n int) {
		t.Helper()
		fleettest.Until(t, fmt.Sprintf("%d watches", n), func() bool { return streamInfo(t, js).State.Consumers == n })
	}
	gone := func(what string) {
		t.Helper()
		began := time.Now()
		watches(0)
		// The server drops a watch without a listener after five seconds.
		if d := time.Since(began); d > 3*time.Second {
			t.Errorf("%s: the watch is gone from the server after %v, want at once", what, d)
		}
	}

	e := open(t, js)
	ctx, cancel := context.WithCancel(t.Context())
	updates := e.Watch(ctx, "k")
	watches(1)
	cancel()
	wantClosed(t, "a watch whose ctx is done", updates, time.Second)
	gone("after the end of ctx")

	// The test does not receive, and there are more updates than the client buffers.
	ctx, cancel = context.WithCancel(t.Context())
	updates = e.Watch(ctx, "k")
	watches(1)
	for i := range 1000 {
		write(t, e, engine.Name{Key: "k", Part: fmt.Sprint(i)}, 0, "v")
	}
	cancel()
	wantClosed(t, "a watch that nobody receives from", updates, time.Second)
	gone("with news that nobody has received")

	updates = e.Watch(t.Context(), "k")
	watches(1)
	e.Close()
	wantClosed(t, "a watch of a closed Engine", updates, time.Second)
	gone("after Close")
	wantClosed(t, "a watch that begins after Close", e.Watch(t.Context(), "k"), time.Second)

	l := newLine(t, s.ClientURL())
	e = open(t, dial(t, l.url()))
	l.set(false, true) // the answer does not arrive yet
	ctx, cancel = context.WithCancel(t.Context())
	updates = e.Watch(ctx, "k")
	watches(1)
	cancel()
	wantClosed(t, "a watch whose ctx ends before the answer is there", updates, time.Second)
	l.mend()
	gone("with an answer that came late")

	l.drop()
	<-e.Down()
	wantClosed(t, "a watch without a connection", e.Watch(t.Context(), "k"), time.Second)
}

// A server that refuses a watch does not answer.
func TestWatchRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, &server.Options{Users: []*server.User{
		{Username: "admin", Password: "a"},
		{Username: "blind", Password: "b", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{"$JS.API.CONSUMER.>"}},
		}},
	}})
	create(t, dial(t, s.ClientURL(), nats.UserInfo("admin", "a")), jetstream.KeyValueConfig{})
	e := open(t, dial(t, s.ClientURL(), nats.UserInfo("blind", "b")))
	ctx, cancel := context.WithCancel(t.Context())
	updates := e.Watch(ctx, "k")
	cancel()
	wantClosed(t, "a watch whose ctx is done", updates, time.Second)
	wantClosed(t, "a watch that was refused", e.Watch(t.Context(), "k"), 10*time.Second)
	rev := write(t, e, name("k"), 0, "v")
	wantData(t, e, name("k"), rev, "v")
}

// A watch does not survive a break of the connection, in which it may have
// missed something.
func TestWatchEndsWhenTheConnectionGoesDown(t *testing.T) {
	t.Parallel()
	s, js := newServer(t)
	l := newLine(t, s.ClientURL())
	e, other := open(t, dial(t, l.url())), open(t, js)
	updates := e.Watch(t.Context(), "k")
	rev := write(t, other, name("k"), 0, "1")
	next(t, updates)
	l.drop()
	wantClosed(t, "the watch", updates, fleettest.Patience)
	rev = write(t, other, name("k"), rev, "2")
	l.mend()
	fleettest.Until(t, "the connection to be up", func() bool { return !isClosed(e.Down()) })
	if u, _ := next(t, e.Watch(t.Context(), "k")); u.Rev != rev || string(u.Data) != "2" {
		t.Errorf("another watch brings %+v, want 2 at %d", u, rev)
	}
	fleettest.Until(t, "the end of the first watch", func() bool { return streamInfo(t, js).State.Consumers == 1 })
}

// Contexts.

var errEnough = errors.New("waited long enough")

// enough is a context that ends after d, with a cause.
func enough(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, errEnough)
	t.Cleanup(cancel)
	return ctx
}

// No request waits past its context for a server that does not answer. What was
// sent may still be stored, once.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	s, js := newServer(t)
	l := newLine(t, s.ClientURL())
	e, other := open(t, dial(t, l.url())), open(t, js)
	for _, heard := range []bool{false, true} {
		l.set(heard, false)
		key := fmt.Sprint("k", heard)
		began := time.Now()
		if _, err := e.Write(enough(t, 50*time.Millisecond), name(key), engine.Put{Data: []byte("v"), TTL: time.Hour}); err != errEnough {
			t.Errorf("Write: %v, want the cause of the context's end", err)
		}
		if _, err := e.Latest(enough(t, 50*time.Millisecond), name(key)); err != errEnough {
			t.Errorf("Latest: %v, want the cause of the context's end", err)
		}
		wantClosed(t, "Watch", e.Watch(enough(t, 50*time.Millisecond), key), time.Second)
		if d := time.Since(began); d > time.Second {
			t.Errorf("they took %v, want 150ms", d)
		}
		before := streamInfo(t, js).State.LastSeq
		l.mend()
		fleettest.Until(t, "the write", func() bool { return streamInfo(t, js).State.LastSeq == before+1 })
		wantData(t, other, name(key), before+1, "v")
		wantData(t, e, name(key), before+1, "v")
	}
	if n := streamInfo(t, js).State.LastSeq; n != 2 {
		t.Errorf("%d writes, want 2", n)
	}
}

// A connection that takes nothing blocks the client, whatever the context.
func TestConnectionThatTakesNothing(t *testing.T) {
	t.Parallel()
	s, _ := newServer(t)
	l := newLine(t, s.ClientURL())
	js := dial(t, l.url(), nats.FlusherTimeout(fleettest.Patience))
	e := open(t, js)
	l.cut()
	value := bytes.Repeat([]byte("x"), 512<<10)
	blocked := false
	for i := range 60 {
		began := time.Now()
		_, err := e.Write(enough(t, 20*time.Millisecond), name(fmt.Sprint(i)), engine.Put{Data: value, TTL: time.Hour})
		if d := time.Since(began); d > fleettest.Patience/3 || err == nil {
			t.Fatalf("write %d took %v: %v, want 20ms and an error", i, d, err)
		}
		// Whether the client holds its mutex, which the next write needs.
		free := make(chan struct{})
		go func() { js.Conn().Stats(); close(free) }()
		select {
		case <-free:
		case <-time.After(100 * time.Millisecond):
			blocked = true
		}
		if blocked {
			break
		}
	}
	if !blocked {
		t.Error("the client was never blocked: the test tests nothing")
	}
	for what, do := range map[string]func(ctx context.Context) error{
		"Write": func(ctx context.Context) error {
			_, err := e.Write(ctx, name("k"), engine.Put{Data: []byte("v"), TTL: time.Hour})
			return err
		},
		"Latest": func(ctx context.Context) error { _, err := e.Latest(ctx, name("k")); return err },
		"Open":   func(ctx context.Context) error { _, err := natskv.Open(ctx, js, bucket); return err },
	} {
		began := time.Now()
		if err := do(enough(t, 20*time.Millisecond)); !errors.Is(err, errEnough) {
			t.Errorf("%s: %v, want the cause of the context's end", what, err)
		}
		if d := time.Since(began); d > fleettest.Patience/3 {
			t.Errorf("%s took %v, want 20ms", what, d)
		}
	}
	l.drop()
}

// Down.

func TestDown(t *testing.T) {
	t.Parallel()
	s, _ := newServer(t)
	l := newLine(t, s.ClientURL())
	js := dial(t, l.url())
	e := open(t, js)
	up := func() {
		t.Helper()
		fleettest.Until(t, "the connection to be up", func() bool { return !isClosed(e.Down()) })
	}
	for range 5 {
		up()
		down := e.Down()
		if again := e.Down(); again != down {
			t.Error("another channel while nothing has changed")
		}
		l.drop()
		wantClosed(t, "Down", down, fleettest.Patience)
		if !isClosed(e.Down()) {
			t.Error("not down while the connection is reconnecting")
		}
		l.mend()
	}
	up()
	reconnecting := e.Down()
	if err := js.Conn().ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, "Down at a reconnect that is over at once", reconnecting, fleettest.Patience)

	up()
	down := e.Down()
	js.Conn().Close()
	wantClosed(t, "Down", down, fleettest.Patience)
	if !isClosed(e.Down()) {
		t.Error("not down when the connection was closed")
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	s, js := newServer(t)
	e, other := open(t, js), open(t, js)
	down := e.Down()
	l := newLine(t, s.ClientURL())
	slow := open(t, dial(t, l.url()))
	l.cut()
	asked := make(chan error, 1)
	go func() {
		_, err := slow.Latest(t.Context(), name("k"))
		asked <- err
	}()
	for range 2 {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if !isClosed(down) || !isClosed(e.Down()) {
			t.Error("not down after Close")
		}
	}
	if _, err := e.Latest(t.Context(), name("k")); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("Latest after Close: %v, want ErrClosed", err)
	}
	// The connection, and other Engines on it, go on.
	rev := write(t, other, name("k"), 0, "v")
	wantData(t, other, name("k"), rev, "v")
	if isClosed(other.Down()) {
		t.Error("another Engine is down")
	}

	slow.Close()
	select {
	case err := <-asked:
		if err == nil || errors.Is(err, engine.ErrClosed) {
			t.Errorf("a request under way at Close: %v, want an error that is not ErrClosed", err)
		}
	case <-time.After(fleettest.Patience):
		t.Error("a request under way at Close has not returned")
	}
}

// With the options that the README names, a server that has become silent is
// noticed.
func TestSilentConnectionIsNoticed(t *testing.T) {
	t.Parallel()
	s, _ := newServer(t)
	l := newLine(t, s.ClientURL())
	const interval, outstanding = 100 * time.Millisecond, 2
	e := open(t, dial(t, l.url(), nats.PingInterval(interval), nats.MaxPingsOutstanding(outstanding)))
	time.Sleep(5 * interval)
	down := e.Down()
	if isClosed(down) {
		t.Fatal("down while the server answers")
	}
	l.cut()
	cut := time.Now()
	wantClosed(t, "Down", down, fleettest.Patience)
	if d := time.Since(cut); d > (outstanding+1)*interval+2*time.Second {
		t.Errorf("noticed after %v, want %v", d, (outstanding+1)*interval)
	}
}
