// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A layer is a cache to test with. Each test gets a new one.
type layer struct {
	name  string
	cache func(t *testing.T, ttl time.Duration) func(*service)
	blind func(*service) // makes the service keep every reading that was loaded
}

var layers = []layer{
	{"memory", func(t *testing.T, ttl time.Duration) func(*service) {
		return func(f *service) { f.memory = newMemory(ttl) }
	}, storeByHand},
	{"redis", func(t *testing.T, ttl time.Duration) func(*service) {
		return startRedis(t).cache(t, ttl)
	}, func(f *service) { f.redis = blind{f.redis} }},
}

// storeByHand makes the load store what it has read, even if its flight has been
// forgotten. Code without Fill usually does that.
func storeByHand(f *service) {
	read := f.read
	f.read = func(ctx context.Context, city string) (reading, error) {
		r, err := read(ctx, city)
		if err == nil {
			f.memory.Set(key{city}, answer{reading: r})
		}
		return r, err
	}
}

// blind is a Redis that ignores the generation.
type blind struct{ sharedCache }

func (b blind) Get(ctx context.Context, k key) (reading, func(context.Context, reading) bool, bool) {
	r, _, ok := b.sharedCache.Get(ctx, k)
	return r, func(ctx context.Context, r reading) bool {
		value, _ := json.Marshal(r)
		c := b.sharedCache.(*redisCache)
		c.client.Set(ctx, k.entry(), value, c.ttl)
		return true
	}, ok
}

// TestPut holds a load between its read and its store, while a PUT is
// answered.
func TestPut(t *testing.T) {
	for _, l := range layers {
		t.Run(l.name, func(t *testing.T) {
			before, after := overtake(t, l.cache(t, time.Hour), nil)
			if after != 99 {
				t.Errorf("a reader who came after PUT 99 was answered got %v", after)
			}
			if again := before == 99; again != (l.name == "redis") {
				t.Errorf("the load that was overtaken gave %v; want it done over with Redis alone, where a PUT may have been elsewhere", before)
			}
		})
	}
}

// TestPutBlind is TestPut with a service that keeps every reading that was loaded.
// One of the same readers then gets the old reading.
func TestPutBlind(t *testing.T) {
	for _, l := range layers {
		t.Run(l.name, func(t *testing.T) {
			before, after := overtake(t, l.cache(t, time.Hour), l.blind)
			if after == 99 || after != before {
				t.Errorf("blind, after PUT 99: %v; want the old reading, %v. TestPut proves nothing", after, before)
			}
		})
	}
}

// overtake returns what two readers got: one whose load a PUT of 99 overtook, and
// one that came after the answer to the PUT and the end of the load. blind, if not
// nil, changes the service last.
func overtake(t *testing.T, cache, blind func(*service)) (before, after float64) {
	var g gate
	var through atomic.Bool
	f := start(t, cache, func(f *service) {
		read := f.read
		hold(&g)(f)
		held := f.read
		f.read = func(ctx context.Context, city string) (reading, error) {
			if through.Swap(true) { // all but the first
				return read(ctx, city)
			}
			return held(ctx, city)
		}
		if blind != nil {
			blind(f)
		}
	})
	early := f.goGet("/city/Tokyo")
	q := g.next(t) // it has the old row
	early2, early3 := f.goGet("/city/Tokyo?wait=1m"), f.goGet("/cities?name=Tokyo&name=Paris")
	f.waitJoined(t, 2)
	f.put("Tokyo", 99).want(t, http.StatusOK)
	for _, path := range []string{"/city/Tokyo", "/city/Tokyo?wait=1m"} { // the old load is still running
		if a := f.get(path).answer(t); a.Celsius != 99 {
			t.Errorf("GET %s joined the flight that PUT 99 overtook, and got %v", path, a.Celsius)
		}
	}
	q.pass()
	before = (<-early).answer(t).Celsius
	if got := (<-early2).answer(t).Celsius; got != before {
		t.Errorf("in one flight, one got %v and the other %v", before, got)
	}
	var both []answer
	(<-early3).decode(t, &both)
	return before, f.get("/city/Tokyo").answer(t).Celsius
}

// TestPutUnderLoad has readers of all kinds, some of which hang up, while one
// client writes. No reader gets a reading that is older than the last PUT that had
// been answered before.
func TestPutUnderLoad(t *testing.T) {
	for _, l := range layers {
		t.Run(l.name, func(t *testing.T) {
			load := underLoad(t, func(l *load) bool { return l.puts >= 200 && l.reads.Load() >= 1000 },
				l.cache(t, 10*time.Millisecond), nil)
			if n := load.old.Load(); n > 0 {
				t.Errorf("%d of %d readers got an old reading", n, load.reads.Load())
			}
		})
	}
}

// TestPutUnderLoadBlind is TestPutUnderLoad until it fails.
func TestPutUnderLoadBlind(t *testing.T) {
	for _, l := range layers {
		t.Run(l.name, func(t *testing.T) {
			deadline := time.Now().Add(patience)
			load := underLoad(t, func(l *load) bool { return l.old.Load() > 0 || time.Now().After(deadline) },
				l.cache(t, 10*time.Millisecond), l.blind)
			if load.old.Load() == 0 {
				t.Error("nobody got an old reading from a blind service: TestPutUnderLoad proves nothing")
			}
		})
	}
}

type load struct {
	puts             int64
	reads, old       atomic.Int64
	hits             atomic.Int64
	lastPutConfirmed atomic.Int64
}

// underLoad reads and writes until enough reports true.
func underLoad(t *testing.T, enough func(*load) bool, cache, blind func(*service)) *load {
	t.Helper()
	var l load
	f := start(t, cache, func(f *service) {
		if blind != nil {
			defer blind(f)
		}
		read := f.read
		f.read = func(ctx context.Context, city string) (reading, error) {
			r, err := read(ctx, city)
			time.Sleep(rand.N(2 * time.Millisecond)) // the time of the response on the network
			return r, err
		}
	})
	f.put("Tokyo", 0).want(t, http.StatusOK)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
	defer client.CloseIdleConnections()

	kinds := []string{"/city/Tokyo", "/city/Tokyo?wait=1m", "/cities?name=Tokyo", "/city/Tokyo"}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 16 {
		path, leaves := kinds[i%4], i%4 == 3
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ctx, hangUp := context.WithTimeout(context.Background(), patience)
				if leaves {
					time.AfterFunc(rand.N(2*time.Millisecond), hangUp)
				}
				least := l.lastPutConfirmed.Load()
				resp := send(ctx, client, "GET", f.url+path, "")
				hangUp()
				if leaves && errors.Is(resp.err, context.Canceled) {
					continue
				}
				var a answer
				if err := json.Unmarshal([]byte(strings.Trim(resp.body, "[]\n")), &a); err != nil || resp.status != http.StatusOK {
					t.Errorf("GET %s: %+v", path, resp)
					return
				}
				l.reads.Add(1)
				if a.Source == "cache" {
					l.hits.Add(1)
				}
				if a.Celsius < float64(least) {
					l.old.Add(1)
				}
			}
		})
	}
	for !enough(&l) && !t.Failed() {
		l.puts++
		if resp := f.put("Tokyo", float64(l.puts)); resp.err != nil || resp.status != http.StatusOK {
			t.Errorf("PUT: %+v", resp)
		}
		l.lastPutConfirmed.Store(l.puts)
	}
	close(stop)
	wg.Wait()
	st := f.flights.Stats()
	t.Logf("%d PUTs, %d reads, %d of them old: %d hits, %d joined, %d left",
		l.puts, l.reads.Load(), l.old.Load(), l.hits.Load(), st.Joined, st.Left)
	return &l
}

// TestPutDropsAfterWrite has a load begin and end just before the write, so the old
// row is in the cache when PUT drops it.
func TestPutDropsAfterWrite(t *testing.T) {
	for _, l := range layers {
		t.Run(l.name, func(t *testing.T) {
			f := start(t, l.cache(t, time.Hour), func(f *service) {
				write := f.write
				f.write = func(ctx context.Context, r reading) error {
					f.get("/city/Tokyo").want(t, http.StatusOK)
					return write(ctx, r)
				}
			})
			f.put("Tokyo", 99).want(t, http.StatusOK)
			if a := f.get("/city/Tokyo").answer(t); a.Celsius != 99 {
				t.Errorf("after PUT 99: %+v", a)
			}
		})
	}
}

// TestPutForgetsAfterDrop has a flight find the old entry just before PUT
// drops it, and holds that flight: it must not be joined afterwards.
func TestPutForgetsAfterDrop(t *testing.T) {
	for _, l := range layers {
		t.Run(l.name, func(t *testing.T) {
			var armed atomic.Bool
			found, goOn := make(chan struct{}), make(chan struct{})
			var early <-chan response
			h := &hooks{afterGet: func(hit bool) {
				if hit && armed.CompareAndSwap(true, false) {
					close(found)
					<-goOn
				}
			}}
			f := start(t, l.cache(t, time.Hour), func(f *service) {
				h.beforeDrop = func() {
					armed.Store(true)
					if l.name == "memory" {
						h.miss.Store(true) // so that the flight finds it, and not the request
					}
					early = f.goGet("/city/Tokyo")
					<-found
				}
				h.into(f)
			})
			old := f.get("/city/Tokyo").answer(t)
			f.put("Tokyo", 99).want(t, http.StatusOK)
			late := f.goGet("/city/Tokyo")
			eventually(t, "the late reader has a flight", func() bool {
				st := f.flights.Stats()
				return st.Executions >= 3 || st.Joined > 0
			})
			close(goOn)
			if a := (<-late).answer(t); a.Celsius != 99 {
				t.Errorf("after PUT 99: %+v", a)
			}
			if a := (<-early).answer(t); a.Celsius != old.Celsius {
				t.Errorf("the flight that was held got %v, want the old %v", a.Celsius, old.Celsius)
			}
		})
	}
}

// TestPutFailsHavingWritten has the database write the row and then return an error.
func TestPutFailsHavingWritten(t *testing.T) {
	f := start(t, func(f *service) {
		write := f.write
		f.write = func(ctx context.Context, r reading) error {
			return errors.Join(write(ctx, r), errors.New("connection lost"))
		}
	})
	f.get("/city/Tokyo").want(t, http.StatusOK)
	f.put("Tokyo", 99).want(t, http.StatusBadGateway)
	if a := f.get("/city/Tokyo").answer(t); a.Celsius != 99 {
		t.Errorf("the entry is still there: %+v", a)
	}
}

// TestPutClientLeaves hangs up during the write, which is completed.
func TestPutClientLeaves(t *testing.T) {
	writing, goOn := make(chan context.Context), make(chan struct{})
	f := start(t, func(f *service) {
		write := f.write
		f.write = func(ctx context.Context, r reading) error {
			writing <- ctx
			<-goOn
			return write(ctx, r)
		}
	})
	f.get("/city/Tokyo").want(t, http.StatusOK) // now it is in the cache
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan response)
	go func() { gone <- send(ctx, http.DefaultClient, "PUT", f.url+"/city/Tokyo", `{"celsius": 99}`) }()
	w := <-writing
	leave()
	if resp := <-gone; !errors.Is(resp.err, context.Canceled) {
		t.Errorf("who left got %+v", resp)
	}
	if err := w.Err(); err != nil {
		t.Errorf("the write's context: %v", err)
	}
	close(goOn)
	eventually(t, "readers get the new reading", func() bool { return f.get("/city/Tokyo").answer(t).Celsius == 99 })
}

func TestOtherKeysAreKept(t *testing.T) {
	m := newMemory(time.Hour)
	for _, city := range []string{"Tokyo", "Paris"} {
		m.Set(key{city}, answer{reading: reading{City: city}})
	}
	m.Delete(key{"Tokyo"})
	if _, ok := m.Get(key{"Tokyo"}); ok {
		t.Error("Tokyo is still there")
	}
	if a, ok := m.Get(key{"Paris"}); !ok || a.City != "Paris" || a.Source != "cache" {
		t.Errorf("Paris is %+v, %v; want it from the cache", a, ok)
	}
}
