// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package enginetest_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

// The Fake's faults are what their documentation says.
func TestFakeFaults(t *testing.T) {
	name := engine.Name{Key: "k", Part: "current"}
	put := engine.Put{Data: []byte("a"), TTL: time.Minute}
	const patience = 2 * time.Second
	write := func(c *enginetest.Conn, put engine.Put) error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := c.Write(ctx, name, put)
		return err
	}
	for _, test := range []struct {
		name   string
		line   enginetest.Line
		err    error         // of a Write
		stored time.Duration // how long after the Write began its record is there; 0: never
		watch  string        // what a watch on that line receives: news, twice, none or closed
	}{
		{"good", enginetest.Line{}, nil, time.Millisecond, "news"},
		{"request lost", enginetest.Line{Requests: enginetest.Way{Lost: true}}, context.DeadlineExceeded, 0, "none"},
		{"request late", enginetest.Line{Requests: enginetest.Way{Late: 3 * time.Second}}, context.DeadlineExceeded, 3*time.Second + time.Millisecond, "news"},
		{"request doubled", enginetest.Line{Requests: enginetest.Way{Doubled: true}}, nil, time.Millisecond, "news"},
		{"answer lost", enginetest.Line{Answers: enginetest.Way{Lost: true}}, context.DeadlineExceeded, time.Millisecond, "news"},
		{"answer late", enginetest.Line{Answers: enginetest.Way{Late: 3 * time.Second}}, context.DeadlineExceeded, time.Millisecond, "news"},
		{"news lost", enginetest.Line{News: enginetest.Way{Lost: true}}, nil, time.Millisecond, "none"},
		{"news doubled", enginetest.Line{News: enginetest.Way{Doubled: true}}, nil, time.Millisecond, "twice"},
		{"each third request lost, and this is the second", enginetest.Line{Requests: enginetest.Way{Lost: true, Every: 3}}, nil, time.Millisecond, "news"},
		{"each second request lost, and this is the second", enginetest.Line{Requests: enginetest.Way{Lost: true, Every: 2}}, context.DeadlineExceeded, 0, "none"},
		{"requests held up", enginetest.Line{Requests: enginetest.Way{Held: true}}, context.DeadlineExceeded, 0, "none"},
		{"cut", enginetest.Line{Cut: true}, engine.ErrUnsent, 0, "closed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := enginetest.NewFake(enginetest.FakeOptions{})
				defer f.Close()
				c, good := f.Connect(), f.Connect()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ch := c.Watch(ctx, name.Key)
				<-ch // all that is stored: nothing
				c.SetLine(test.line)
				began := time.Now()
				go func() {
					if err := write(c, put); !errors.Is(err, test.err) {
						t.Errorf("Write: %v, want %v", err, test.err)
					}
				}()
				if test.stored != 0 {
					time.Sleep(test.stored + time.Millisecond)
				} else {
					time.Sleep(time.Minute / 2)
				}
				there, err := good.Latest(t.Context(), name)
				if stored := !there.Gone; err != nil || stored != (test.stored != 0) {
					t.Errorf("after %v: %+v, %v, want something to be stored: %v", time.Since(began), there, err, test.stored != 0)
				}
				time.Sleep(5 * time.Second) // also a repetition has arrived
				if again, _ := good.Latest(t.Context(), name); again.Rev != there.Rev {
					t.Errorf("revision %d, and later %d, want the Write to be applied once", there.Rev, again.Rev)
				}
				received := 0
				synctest.Wait()
			receiving:
				for {
					select {
					case _, open := <-ch:
						if !open {
							received = -1
							break receiving
						}
						received++
						synctest.Wait()
					default:
						break receiving
					}
				}
				if want := map[string]int{"news": 1, "twice": 2, "none": 0, "closed": -1}[test.watch]; received != want {
					t.Errorf("the watch received %d, want %d (-1: closed)", received, want)
				}

				// What was held up arrives; the connection works again.
				c.SetLine(enginetest.Line{})
				time.Sleep(time.Second)
				there, err = c.Latest(t.Context(), name)
				if err != nil {
					t.Error(err)
				}
				if want := test.stored != 0 || test.line.Requests.Held; there.Gone == want {
					t.Errorf("when the line is good again: %+v, want something to be stored: %v", there, want)
				}
			})
		})
	}
}

// A store that was rolled back has what it had, and gives no revision again.
func TestFakeRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := enginetest.NewFake(enginetest.FakeOptions{})
		defer f.Close()
		c, name := f.Connect(), engine.Name{Key: "k", Part: "current"}
		revs := make(map[uint64]bool)
		write := func(expect uint64) uint64 {
			t.Helper()
			rev, err := c.Write(t.Context(), name, engine.Put{Expect: expect, Data: []byte("a"), TTL: time.Minute})
			if err != nil || revs[rev] {
				t.Errorf("Write: revision %d, %v, given before: %v", rev, err, revs[rev])
			}
			revs[rev] = true
			return rev
		}
		first := write(0)
		s := f.Save()
		second := write(first)
		f.Restore(s)
		if e, err := c.Latest(t.Context(), name); e.Rev != first || err != nil {
			t.Errorf("rolled back: %+v, %v, want revision %d", e, err, first)
		}
		write(first)
		f.Restore(enginetest.State{})
		if again := write(0); again > second {
			t.Errorf("begun anew: revision %d, want a lower one than %d", again, second)
		}
		f.StepClock(time.Hour)
		time.Sleep(2 * time.Second)
		if n := f.Records(); n != 0 {
			t.Errorf("%d records after an hour, want none", n)
		}
	})
}
