// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package redis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"example.com/singleflight/fleet/internal/engine"
	"example.com/singleflight/fleet/internal/fleettest"
	"example.com/singleflight/fleet/redis"
)

func TestOpenSaysWhatCannotWork(t *testing.T) {
	t.Parallel()
	master := serve(t)
	replica := serve(t, "--replicaof", "127.0.0.1", fmt.Sprint(master.port))
	evicting := serve(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	noInfo := func(s *server) *goredis.Client {
		s.do("ACL", "SETUSER", "blind", "on", "nopass", "~*", "&*", "+@all", "-info")
		return s.dial(func(o *goredis.Options) { o.Username, o.Password = "blind", "x" })
	}
	old := master.dial()
	old.AddHook(info("redis_version:5.0.14\r\nrole:master\r\n"))
	ring := goredis.NewRing(&goredis.RingOptions{Addrs: map[string]string{"a": master.addr()}})
	t.Cleanup(func() { ring.Close() })
	closedClient := master.dial()
	closedClient.Close()

	for _, test := range []struct {
		name   string
		client goredis.UniversalClient
		prefix string
		want   string
	}{
		{"no client", nil, prefix, "nil client"},
		{"a nil *Client", (*goredis.Client)(nil), prefix, "nil client"},
		{"a nil *ClusterClient", (*goredis.ClusterClient)(nil), prefix, "nil client"},
		{"a Ring", ring, prefix, "Ring"},
		{"no prefix", master.dial(), "", "at least one character"},
		{"a prefix with braces", master.dial(), "a{b}", "no braces"},
		{"a replica", replica.dial(), prefix, "replica, which cannot be written; connect to its master, 127.0.0.1:" + fmt.Sprint(master.port)},
		{"a replica whose INFO may not be read", noInfo(replica), prefix, "replica, which cannot be written"},
		{"a server that evicts", evicting.dial(), prefix, "maxmemory-policy is allkeys-lru"},
		{"an old server", old, prefix, "version 5.0.14"},
		{"no server", dial(t, fmt.Sprint("127.0.0.1:", freePort(t))), prefix, "connection refused"},
		{"a client that is closed", closedClient, prefix, "client is closed"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), fleettest.Patience)
		e, err := redis.Open(ctx, test.client, test.prefix)
		cancel()
		if err == nil {
			e.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Open = %v, want an error with %q", test.name, err, test.want)
		}
	}

	// What may not be asked is no error, nor is a policy without a limit.
	evicting.do("CONFIG", "SET", "maxmemory", "0")
	for what, client := range map[string]goredis.UniversalClient{
		"INFO may not be read":       noInfo(master),
		"it evicts, without a limit": evicting.dial(),
	} {
		if e, err := redis.Open(t.Context(), client, prefix); err != nil {
			t.Errorf("where %s: Open = %v", what, err)
		} else {
			e.Close()
		}
	}
}

// info is a hook that answers INFO.
type info string

func (info) DialHook(next goredis.DialHook) goredis.DialHook { return next }
func (i info) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		if cmd.Name() == "info" {
			cmd.(*goredis.StringCmd).SetVal(string(i))
			return nil
		}
		return next(ctx, cmd)
	}
}
func (info) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}

// rights are those that the documentation lists.
var rights = strings.Fields("+eval +evalsha +time +hget +hset +hdel +hkeys +hgetall +pexpireat +publish +subscribe +unsubscribe +ping")

func TestPermissions(t *testing.T) {
	t.Parallel()
	s := serve(t)
	as := func(user string, rights []string) *goredis.Client {
		args := []any{"ACL", "SETUSER", user, "reset", "on", "nopass", "resetchannels", "~" + prefix + ":*", "&" + prefix + ":*"}
		for _, right := range rights {
			args = append(args, right)
		}
		s.do(args...)
		return s.dial(func(o *goredis.Options) { o.Username, o.Password = user, "x" })
	}
	e := open(t, as("app", rights))
	watch := e.Watch(t.Context(), "k")
	rev := write(t, e, "k", engine.Put{Data: []byte("a"), TTL: 100 * time.Millisecond})
	want(t, "the record", receive(t, watch), rev, "a", false)
	want(t, "its expiry", receive(t, watch), rev, "", true)
	s.do("SCRIPT", "FLUSH")
	write(t, e, "k", engine.Put{Data: []byte("b"), TTL: time.Minute})
	write(t, e, strings.Repeat("long", 1000), engine.Put{TTL: time.Minute})

	// Nothing in the list is there without need, and Open notices what is missing.
	// Without EVAL that is when the server does not know the scripts yet, and
	// UNSUBSCRIBE is needed later.
	for i, right := range rights {
		if right == "+unsubscribe" {
			continue
		}
		s.do("SCRIPT", "FLUSH")
		without := append(append([]string{}, rights[:i]...), rights[i+1:]...)
		if e, err := redis.Open(t.Context(), as("poor", without), prefix); err == nil {
			e.Close()
			t.Errorf("without %s Open succeeds", right)
		}
	}
	for _, pattern := range []string{"~", "&"} {
		client := as("poor", rights)
		switch pattern {
		case "~":
			s.do("ACL", "SETUSER", "poor", "resetkeys", "~other:*")
		case "&":
			s.do("ACL", "SETUSER", "poor", "resetchannels", "&other:*")
		}
		if e, err := redis.Open(t.Context(), client, prefix); err == nil {
			e.Close()
			t.Errorf("without %s%s:* Open succeeds", pattern, prefix)
		}
	}
}

func TestWritesThatStoreNothingSaySo(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		spoil func(s *server, c *goredis.Client)
		put   engine.Put
		want  error
	}{
		{name: "the server is full", spoil: func(s *server, _ *goredis.Client) { s.do("CONFIG", "SET", "maxmemory", "1") }, want: engine.ErrTooLarge},
		{name: "the data are too large", put: engine.Put{Data: make([]byte, 8<<20+1)}, want: engine.ErrTooLarge},
		{name: "too few replicas", spoil: func(s *server, _ *goredis.Client) { s.do("CONFIG", "SET", "min-replicas-to-write", "1") }, want: engine.ErrUnsent},
		{name: "it has become a replica", spoil: func(s *server, _ *goredis.Client) { s.do("REPLICAOF", "127.0.0.1", "1") }, want: engine.ErrUnsent},
		{name: "something else is there", spoil: func(s *server, _ *goredis.Client) { s.do("SET", prefix+":{k}", "mine") }, want: engine.ErrUnsent},
		{name: "it is gone", spoil: func(s *server, _ *goredis.Client) { s.kill() }, want: engine.ErrUnsent},
		{name: "the client is closed", spoil: func(_ *server, c *goredis.Client) { c.Close() }, want: engine.ErrClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			c := s.dial(func(o *goredis.Options) { o.MaxRetries = -1; o.DialerRetries = 1 })
			e := open(t, c)
			if test.spoil != nil {
				test.spoil(s, c)
			}
			if test.name == "it is gone" {
				// The first writes may find the connections of before, and
				// cannot know what has become of them.
				fleettest.Until(t, "no connection to be left", func() bool {
					_, err := e.Write(t.Context(), name("k"), engine.Put{TTL: time.Minute})
					return errors.Is(err, engine.ErrUnsent)
				})
				return
			}
			put := test.put
			put.TTL = time.Minute
			if rev, err := e.Write(t.Context(), name("k"), put); !errors.Is(err, test.want) {
				t.Errorf("Write = %d, %v, want %v", rev, err, test.want)
			}
		})
	}
	t.Run("no connection is free", func(t *testing.T) {
		t.Parallel()
		s := serve(t)
		e := open(t, s.dial(func(o *goredis.Options) { o.PoolSize, o.PoolTimeout, o.MaxRetries = 1, 100*time.Millisecond, -1 }))
		write(t, e, "other", engine.Put{TTL: time.Minute})
		s.freeze()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go e.Latest(ctx, name("k"))
		fleettest.Until(t, "ErrUnsent", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			_, err := e.Write(ctx, name("k"), engine.Put{TTL: time.Minute})
			return errors.Is(err, engine.ErrUnsent)
		})
	})
}

// A write whose answer is lost is not sent again, by whatever the client is set
// to; reads are.
func TestWriteIsSentOnce(t *testing.T) {
	t.Parallel()
	for _, retries := range []int{0, 10, -1} { // the default, many and none
		t.Run(fmt.Sprint("MaxRetries=", retries), func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			l := newLine(t, s.addr())
			e := open(t, dial(t, l.addr(), func(o *goredis.Options) { o.MaxRetries = retries }))
			sent := l.loseAnswers("the-data", cut)
			rev, err := e.Write(t.Context(), name("k"), engine.Put{Data: []byte("the-data"), TTL: time.Minute})
			if err == nil || errors.Is(err, engine.ErrTaken) || errors.Is(err, engine.ErrUnsent) || errors.Is(err, engine.ErrTooLarge) || errors.Is(err, engine.ErrClosed) {
				t.Errorf("Write = %d, %v, want an error that leaves the outcome open", rev, err)
			}
			if n := sent.Load(); n != 1 {
				t.Errorf("it was sent %d times, want once", n)
			}
			l.tap(nil)
			if got := latest(t, open(t, s.dial()), "k"); string(got.Data) != "the-data" {
				t.Errorf("stored: %+v", got)
			}
		})
	}
}

// loseAnswers has a connection dropped or cut, from the answer to a request
// with the given text on, and counts such requests.
func (l *line) loseAnswers(text string, how verdict) (sent *atomic.Int32) {
	sent = new(atomic.Int32)
	var asked sync.Map
	l.tap(func(conn int, fromClient bool, data []byte) verdict {
		if fromClient && bytes.Contains(data, []byte(text)) {
			sent.Add(1)
			asked.Store(conn, true)
		}
		if _, lost := asked.Load(conn); lost && !fromClient {
			return how
		}
		return pass
	})
	return sent
}

// If anything between here and the server repeats a write, it has no effect:
// neither at once, nor late.
func TestRepetitionHasNoEffect(t *testing.T) {
	t.Parallel()
	s := serve(t)
	l := newLine(t, s.addr())
	e := open(t, dial(t, l.addr()))
	requests := make(chan []byte, 10)
	l.tap(func(_ int, fromClient bool, data []byte) verdict {
		if fromClient && bytes.Contains(data, []byte("the-data")) {
			requests <- bytes.Clone(data)
		}
		return pass
	})
	first := write(t, e, "k", engine.Put{Data: []byte("the-data"), TTL: time.Minute})
	conn, err := net.Dial("tcp", s.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request := <-requests
	repeat := func() string {
		conn.Write(request)
		answer := make([]byte, 100)
		n, err := conn.Read(answer)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(answer[:n]))
	}
	if got := repeat(); got != fmt.Sprint(":", first) {
		t.Errorf("the repetition got %q, want the revision %d", got, first)
	}
	if got := latest(t, e, "k"); got.Rev != first {
		t.Errorf("after the repetition: %+v, want revision %d", got, first)
	}
	second := write(t, e, "k", engine.Put{Expect: first, Data: []byte("b"), TTL: time.Minute})
	if got := repeat(); got != ":0" {
		t.Errorf("the repetition that came late got %q, want that it is taken", got)
	}
	want(t, "after it", latest(t, e, "k"), second, "b", false)
}

func TestScriptsAreSentAgainWhereTheServerForgotThem(t *testing.T) {
	t.Parallel()
	s := serve(t)
	e := open(t, s.dial())
	rev := write(t, e, "k", engine.Put{Data: []byte("a"), TTL: time.Minute})
	for range 2 {
		s.do("SCRIPT", "FLUSH")
		rev = write(t, e, "k", engine.Put{Expect: rev, Data: []byte("b"), TTL: time.Minute})
		s.do("SCRIPT", "FLUSH")
		want(t, "Latest", latest(t, e, "k"), rev, "b", false)
	}
}

// A clock that was set back is one that is behind what is stored.
func TestRevisionsDoNotGoBackWithTheClock(t *testing.T) {
	t.Parallel()
	s := serve(t)
	e := open(t, s.dial())
	now := time.Now()
	ahead := uint64(now.Add(time.Hour).UnixMicro())
	s.do("HSET", prefix+":{k}", "now", fmt.Sprintf("%d %d %d 0 ID", ahead, now.Add(time.Hour).UnixMicro(), ahead), "now/data", "a")
	want(t, "the record", latest(t, e, "k"), ahead, "a", false)
	watch := e.Watch(t.Context(), "k")
	want(t, "the record, watched", receive(t, watch), ahead, "a", false)
	rev := write(t, e, "k", engine.Put{Expect: ahead, Data: []byte("b"), TTL: 200 * time.Millisecond})
	if rev <= ahead {
		t.Errorf("revision %d after %d, want a higher one", rev, ahead)
	}
	want(t, "the news", receive(t, watch), rev, "b", false)
	// It expires when it should, by the clock as it is now.
	want(t, "the expiry", receive(t, watch), rev, "", true)
	if d := time.Since(now); d > 10*time.Second {
		t.Errorf("the expiry came after %v", d)
	}
	want(t, "after it", latest(t, e, "k"), rev, "", true)
	again := write(t, e, "k", engine.Put{Data: []byte("c"), TTL: time.Minute})
	if again <= rev {
		t.Errorf("after an expiry: revision %d after %d, want a higher one", again, rev)
	}
	want(t, "the news", receive(t, watch), again, "c", false)
}

func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	s := serve(t)
	e := open(t, s.dial())
	for i := range 20 {
		n := engine.Name{Key: fmt.Sprint(i % 3), Part: fmt.Sprint("part", i)}
		if _, err := e.Write(t.Context(), n, engine.Put{Data: []byte("a"), TTL: time.Duration(i+1) * 20 * time.Millisecond, Quiet: i%2 == 0}); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.do("KEYS", prefix+":{*"); strings.Count(got, prefix) != 3 {
		t.Errorf("Redis keys %s for 3 keys", got)
	}
	// A key that is written all the time does not keep its old parts.
	n, rev := name("0"), uint64(0)
	fleettest.Until(t, "the old parts to be gone", func() bool {
		var err error
		if rev, err = e.Write(t.Context(), n, engine.Put{Expect: rev, Data: []byte("a"), TTL: 500 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		return s.do("HLEN", prefix+":{0}") == "2"
	})
	fleettest.Until(t, "an empty database", func() bool { return s.do("DBSIZE") == "0" })
}

// All watches of an Engine share one connection, and leave nothing in the
// server when they end. Close leaves the client as it was.
func TestWatchesShareOneConnection(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := s.dial()
	e := open(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	var watches []<-chan engine.Entry
	for i := range 100 {
		watches = append(watches, e.Watch(ctx, fmt.Sprint(i%10)))
	}
	fleettest.Until(t, "10 channels and the probe", func() bool { return len(s.channels()) == 11 })
	if n := s.subscribers(); n != 1 {
		t.Errorf("%d connections for the news, want 1", n)
	}
	rev := write(t, e, "3", engine.Put{Data: []byte("a"), TTL: time.Minute})
	for i, watch := range watches {
		if i%10 == 3 {
			want(t, fmt.Sprint("watch ", i), receive(t, watch), rev, "a", false)
		}
	}
	cancel()
	for _, watch := range watches {
		for range watch {
		}
	}
	fleettest.Until(t, "only the probe's channel", func() bool { return len(s.channels()) == 1 })
	e.Close()
	fleettest.Until(t, "no connection for news", func() bool { return s.subscribers() == 0 })
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Errorf("after Close the client says %v", err)
	}
}

func (s *server) channels() []string {
	return s.dial().PubSubChannels(context.Background(), "*").Val()
}

func (s *server) subscribers() int {
	return strings.Count(s.do("CLIENT", "LIST", "TYPE", "pubsub"), "addr=") / 2 // and laddr=
}

// A watch begins, ends and begins again while the answers to the requests of
// before are still on their way.
func TestWatchesThatComeAndGoMissNothing(t *testing.T) {
	t.Parallel()
	s := serve(t)
	e, writer := open(t, s.dial()), open(t, s.dial())
	rev := write(t, writer, "k", engine.Put{Data: []byte("a"), TTL: time.Minute})
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		receive(t, e.Watch(ctx, "k"))
		cancel()
		ctx, cancel = context.WithCancel(t.Context())
		watch := e.Watch(ctx, "k")
		rev = write(t, writer, "k", engine.Put{Expect: rev, Data: []byte("a"), TTL: time.Minute})
		for receive(t, watch).Rev != rev {
		}
		cancel()
	}
}

// A connection that is lost and found is no reason to be down, and the news
// that were missed are made up for.
func TestLostConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	s := serve(t)
	l := newLine(t, s.addr())
	e, other := open(t, dial(t, l.addr())), open(t, s.dial())
	down := e.Down()
	watch := e.Watch(t.Context(), "k")
	rev := write(t, other, "k", engine.Put{Data: []byte("a"), TTL: time.Minute})
	want(t, "the first", receive(t, watch), rev, "a", false)
	for i := range 10 {
		data := fmt.Sprint(i)
		l.drop()
		rev = write(t, other, "k", engine.Put{Expect: rev, Data: []byte(data), TTL: time.Minute})
		want(t, "after a cut", receive(t, watch), rev, data, false)
	}
	if closed(down) {
		t.Error("Down is closed")
	}
}

// Down is closed soon after the server has ended or fallen silent, and not
// any more when it is back.
func TestDown(t *testing.T) {
	t.Parallel()
	for what, lose := range map[string]func(*server) (back func()){
		"killed": func(s *server) func() { s.kill(); return s.start },
		"frozen": func(s *server) func() { s.freeze(); return s.thaw },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			e := open(t, s.dial())
			watch := e.Watch(t.Context(), "k")
			rev := write(t, e, "k", engine.Put{Data: []byte("a"), TTL: time.Minute})
			want(t, "the first", receive(t, watch), rev, "a", false)
			if closed(e.Down()) {
				t.Error("Down is closed before")
			}
			back := lose(s)
			began := time.Now()
			<-e.Down()
			if d := time.Since(began); d > 6*time.Second { // 2.5 s, on a machine that does nothing else
				t.Errorf("Down was closed after %v", d)
			}
			back()
			fleettest.Until(t, "the connection", func() bool { return !closed(e.Down()) })
			// The watch is there again, or closed.
			rev = 0
			if what == "frozen" {
				rev = latest(t, e, "k").Rev
			}
			rev = write(t, e, "k", engine.Put{Expect: rev, Data: []byte("b"), TTL: time.Minute})
			for entry := range watch {
				if entry.Rev == rev {
					break
				}
			}
		})
	}
}

// The same where the connection is lost, and a new one neither comes nor fails.
func TestDownWhileConnectingHangs(t *testing.T) {
	t.Parallel()
	s := serve(t)
	l := newLine(t, s.addr())
	var hang atomic.Bool
	e := open(t, dial(t, l.addr(), func(o *goredis.Options) {
		o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if hang.Load() {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	}))
	hang.Store(true)
	l.drop()
	select {
	case <-e.Down():
	case <-time.After(fleettest.Patience):
		t.Fatal("Down is not closed")
	}
	e.Close()
}

// Whatever the client is set to, a request to a silent server returns when its
// context is done.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	for _, set := range []func(*goredis.Options){
		func(*goredis.Options) {},
		func(o *goredis.Options) { o.ContextTimeoutEnabled = true },
		func(o *goredis.Options) { o.ReadTimeout, o.WriteTimeout = -1, -1 },
		func(o *goredis.Options) { o.PoolSize = 1 },
	} {
		s := serve(t)
		e := open(t, s.dial(set))
		s.freeze()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				began := time.Now()
				if _, err := e.Write(ctx, name("k"), engine.Put{TTL: time.Minute}); err == nil {
					t.Error("a Write succeeds")
				}
				if _, err := e.Latest(ctx, name("k")); err == nil {
					t.Error("Latest succeeds")
				}
				if d := time.Since(began); d > 2*time.Second {
					t.Errorf("they took %v", d)
				}
			})
		}
		wg.Wait()
		began := time.Now()
		e.Close()
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("Close took %v", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		began = time.Now()
		if _, err := redis.Open(ctx, s.dial(set), prefix); err == nil || time.Since(began) > 2*time.Second {
			t.Errorf("Open: %v after %v", err, time.Since(began))
		}
		cancel()
		s.kill() // so that what waits for it without a time limit ends
	}
}

// Close does not wait for requests, and they do not wait for the server.
func TestCloseDuringRequests(t *testing.T) {
	t.Parallel()
	s := serve(t)
	l := newLine(t, s.addr())
	e := open(t, dial(t, l.addr()))
	s.freeze()
	before := l.accepted()
	var sent atomic.Int32
	l.tap(func(_ int, fromClient bool, data []byte) verdict {
		if fromClient && bytes.Contains(data, []byte(prefix+":{k}")) {
			sent.Add(1)
		}
		return pass
	})
	errs := make(chan error, 2)
	go func() {
		_, err := e.Write(t.Context(), name("k"), engine.Put{TTL: time.Minute})
		errs <- err
	}()
	go func() {
		_, err := e.Latest(t.Context(), name("k"))
		errs <- err
	}()
	fleettest.Until(t, "a request, and a connection for the other", func() bool { return sent.Load() == 1 && l.accepted() == before+1 })
	e.Close()
	e.Close()
	for range 2 {
		if err := <-errs; err == nil {
			t.Error("a request that was not answered succeeds")
		}
	}
	s.kill()
}
