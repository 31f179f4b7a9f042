// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package enginetest_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/singleflight/fleet/internal/engine"
	"example.com/singleflight/fleet/internal/enginetest"
)

// store is what the suite needs of a Fake.
func store(f *enginetest.Fake) enginetest.Store {
	return enginetest.Store{
		Connect: func(testing.TB) (engine.Engine, func()) {
			c := f.Connect()
			return c, c.Close
		},
		Oversize: 1 << 20,
		Watches:  f.Watches,
		Stop: func(testing.TB) (start func()) {
			f.Stop()
			return f.Start
		},
		Freeze: func(testing.TB) (thaw func()) {
			f.Freeze()
			return f.Thaw
		},
	}
}

func TestFake(t *testing.T) {
	for name, opts := range map[string]enginetest.FakeOptions{
		"LikeNATS":  {MaxTTL: 365 * 24 * time.Hour},
		"LikeRedis": {Gone: true, Granularity: time.Millisecond},
		"Late":      {Late: 900 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			opts.MaxData = 1<<20 - 1
			enginetest.RunInBubbles(t, func(testing.TB) enginetest.Store { return store(enginetest.NewFake(opts)) })
		})
	}
}

// A wrong engine does something else than the one it embeds.
type wrong struct {
	engine.Engine
	write func(e engine.Engine, ctx context.Context, name engine.Name, put engine.Put) (uint64, error)
	read  func(e engine.Engine, ctx context.Context, name engine.Name) (engine.Entry, error)
	watch func(e engine.Engine, ctx context.Context, key string) <-chan engine.Entry
	down  func(e engine.Engine) <-chan struct{}
}

func (w wrong) Write(ctx context.Context, name engine.Name, put engine.Put) (uint64, error) {
	if w.write != nil {
		return w.write(w.Engine, ctx, name, put)
	}
	return w.Engine.Write(ctx, name, put)
}

func (w wrong) Latest(ctx context.Context, name engine.Name) (engine.Entry, error) {
	if w.read != nil {
		return w.read(w.Engine, ctx, name)
	}
	return w.Engine.Latest(ctx, name)
}

func (w wrong) Watch(ctx context.Context, key string) <-chan engine.Entry {
	if w.watch != nil {
		return w.watch(w.Engine, ctx, key)
	}
	return w.Engine.Watch(ctx, key)
}

func (w wrong) Down() <-chan struct{} {
	if w.down != nil {
		return w.down(w.Engine)
	}
	return w.Engine.Down()
}

// rewrites returns an engine that writes something else.
func rewrites(change func(*engine.Name, *engine.Put)) wrong {
	return wrong{write: func(e engine.Engine, ctx context.Context, name engine.Name, put engine.Put) (uint64, error) {
		change(&name, &put)
		return e.Write(ctx, name, put)
	}}
}

// filters returns an engine whose watches send something else.
func filters(change func(before []engine.Entry, e engine.Entry) []engine.Entry) wrong {
	return wrong{watch: func(e engine.Engine, ctx context.Context, key string) <-chan engine.Entry {
		from, to := e.Watch(ctx, key), make(chan engine.Entry)
		go func() {
			defer close(to)
			var before []engine.Entry
			for e := range from {
				for _, e := range change(before, e) {
					select {
					case to <- e:
					case <-ctx.Done():
					}
				}
				before = append(before, e)
			}
		}()
		return to
	}}
}

// The suite can fail: these engines are wrong, and it says where.
func TestSuiteFindsWrongEngines(t *testing.T) {
	for _, test := range []struct {
		name   string
		opts   enginetest.FakeOptions
		engine wrong
		want   []string // tests that fail, among others
	}{
		{name: "nothing is wrong"},
		{name: "revisions are not checked", opts: enginetest.FakeOptions{Unchecked: true},
			want: []string{"Taken", "ReleaseLeavesMarker", "ReleaseOfNothingLeavesMarker", "MarkerExpires", "OneWriterWins", "ExpiryWhileStopped"}},
		{name: "revisions are not checked against nothing",
			engine: wrong{write: func(e engine.Engine, ctx context.Context, name engine.Name, put engine.Put) (uint64, error) {
				if there, err := e.Latest(ctx, name); err == nil && put.Expect == 0 && len(there.Data) == 0 {
					put.Expect = there.Rev // as if a marker were nothing
				}
				return e.Write(ctx, name, put)
			}},
			want: []string{"ReleaseLeavesMarker", "ReleaseOfNothingLeavesMarker"}},
		{name: "a record lives too short", engine: rewrites(func(_ *engine.Name, put *engine.Put) { put.TTL = put.TTL * 9 / 10 / 1e6 * 1e6 }),
			opts: enginetest.FakeOptions{Granularity: time.Millisecond},
			want: []string{"TTL", "TTLOfQuietRecord", "TTLOfSeveralUnits", "LongerTTLReplacesShorter", "ExpiryIsAnnounced"}},
		{name: "a record lives too long", opts: enginetest.FakeOptions{Late: 1100 * time.Millisecond},
			want: []string{"TTL", "ShorterTTLReplacesLonger", "ExpiryIsAnnounced", "MarkerExpires"}},
		{name: "an expiry is not announced", engine: rewrites(func(_ *engine.Name, put *engine.Put) { put.Quiet = true }),
			want: []string{"ExpiryIsAnnounced"}},
		{name: "a quiet expiry is announced", engine: rewrites(func(_ *engine.Name, put *engine.Put) { put.Quiet = false }),
			want: []string{"QuietExpiryIsNotAnnounced", "TTLOfQuietRecord"}},
		{name: "an expiry does not name its revision",
			opts: enginetest.FakeOptions{Gone: true},
			engine: filters(func(_ []engine.Entry, e engine.Entry) []engine.Entry {
				if e.Gone {
					e.Rev = 0
				}
				return []engine.Entry{e}
			}),
			want: []string{"ExpiryIsAnnounced"}},
		{name: "a watch does not say what is absent",
			engine: filters(func(_ []engine.Entry, e engine.Entry) []engine.Entry {
				if e.Part == "" {
					return nil
				}
				return []engine.Entry{e}
			}),
			want: []string{"WatchBeginsWithWhatIsStored", "WatchOfNothing"}},
		{name: "a watch says too early what is absent",
			engine: filters(func(before []engine.Entry, e engine.Entry) []engine.Entry {
				if e.Part == "" {
					return nil
				}
				if len(before) == 0 {
					return []engine.Entry{{}, e}
				}
				return []engine.Entry{e}
			}),
			want: []string{"WatchBeginsWithWhatIsStored"}},
		{name: "long keys are cut",
			engine: wrong{
				write: func(e engine.Engine, ctx context.Context, name engine.Name, put engine.Put) (uint64, error) {
					name.Key = name.Key[:min(len(name.Key), 256)]
					return e.Write(ctx, name, put)
				},
				watch: func(e engine.Engine, ctx context.Context, key string) <-chan engine.Entry {
					return e.Watch(ctx, key[:min(len(key), 256)])
				},
			},
			want: []string{"AnyKey"}},
		{name: "a watch has another key's news",
			engine: wrong{watch: func(e engine.Engine, ctx context.Context, key string) <-chan engine.Entry {
				return e.Watch(ctx, strings.ToLower(key))
			}},
			want: []string{"AnyKey"}},
		{name: "parts differ in more than case", engine: rewrites(func(name *engine.Name, _ *engine.Put) { name.Part = strings.ToLower(name.Part) }),
			want: []string{"AnyPart", "WatchBeginsWithWhatIsStored"}},
		{name: "the latest may lag",
			engine: func() wrong {
				type question struct {
					engine.Engine
					engine.Name
				}
				var mu sync.Mutex
				answers := make(map[question]engine.Entry)
				return wrong{read: func(e engine.Engine, ctx context.Context, name engine.Name) (engine.Entry, error) {
					there, err := e.Latest(ctx, name)
					mu.Lock()
					defer mu.Unlock()
					before, asked := answers[question{e, name}]
					answers[question{e, name}] = there
					if asked && err == nil && there.Time.Sub(before.Time) < time.Second {
						return before, nil
					}
					return there, err
				}}
			}(),
			want: []string{"LatestReflectsEveryWrite", "Replace"}},
		{name: "a watch does not begin with what is stored",
			engine: filters(func(before []engine.Entry, e engine.Entry) []engine.Entry {
				if len(before) == 0 {
					return nil
				}
				return []engine.Entry{e}
			}),
			want: []string{"WatchBeginsWithWhatIsStored", "AnyKey"}},
		{name: "a watch omits markers",
			engine: filters(func(_ []engine.Entry, e engine.Entry) []engine.Entry {
				if len(e.Data) == 0 && !e.Gone {
					return nil
				}
				return []engine.Entry{e}
			}),
			want: []string{"WatchBeginsWithWhatIsStored", "ReleaseLeavesMarker"}},
		{name: "a watch goes back", engine: filters(func(before []engine.Entry, e engine.Entry) []engine.Entry {
			return append([]engine.Entry{e}, before...)
		}), want: []string{"WatchChangesInOrder"}},
		{name: "a read ignores its context",
			engine: wrong{read: func(e engine.Engine, ctx context.Context, name engine.Name) (engine.Entry, error) {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
				defer cancel()
				return e.Latest(ctx, name)
			}},
			want: []string{"DoneContext", "Freeze"}},
		{name: "a write ignores its context",
			engine: wrong{write: func(e engine.Engine, ctx context.Context, name engine.Name, put engine.Put) (uint64, error) {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
				defer cancel()
				return e.Write(ctx, name, put)
			}},
			want: []string{"DoneContext", "Freeze"}},
		{name: "what is too large is cut", engine: rewrites(func(_ *engine.Name, put *engine.Put) { put.Data = put.Data[:min(len(put.Data), 1<<16)] }),
			want: []string{"TooLarge"}},
		{name: "Down never says so", engine: wrong{down: func(engine.Engine) <-chan struct{} { return make(chan struct{}) }},
			want: []string{"Close", "StopAndStart"}},
		{name: "Down always says so", engine: wrong{down: func(engine.Engine) <-chan struct{} {
			c := make(chan struct{})
			close(c)
			return c
		}}, want: []string{"Close", "CloseIsForOneConnection", "TooLarge"}},
		{name: "data is changed", engine: rewrites(func(_ *engine.Name, put *engine.Put) { put.Data = bytes.ToValidUTF8(put.Data, nil) }),
			want: []string{"AnyData"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.opts.MaxData = 1<<20 - 1
			got := enginetest.Failures(t, func(testing.TB) enginetest.Store {
				f := enginetest.NewFake(test.opts)
				s := store(f)
				s.Connect = func(testing.TB) (engine.Engine, func()) {
					c := f.Connect()
					e := test.engine
					e.Engine = c
					return e, c.Close
				}
				return s
			})
			for _, name := range test.want {
				if !slices.Contains(got, name) {
					t.Errorf("the suite fails in %q, want in %s too", got, name)
				}
			}
			if len(test.want) == 0 && len(got) != 0 {
				t.Errorf("the suite fails in %q, want nowhere", got)
			}
		})
	}
}
