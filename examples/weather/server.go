// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"context"
	"encoding/json"
	"errors"
	"expvar"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"time"

	"example.com/singleflight"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

const (
	maxLoads   = 10       // concurrent queries
	maxNames   = 100      // in one request
	maxBody    = 64 << 10 // bytes
	queryLimit = 5 * time.Second
)

// A key identifies a flight. It holds everything that the answer depends on, and
// nothing else. If the answer comes to depend on a language or a tenant, add it
// here.
type key struct {
	city string
}

// An answer is what a client gets.
type answer struct {
	reading
	Source string `json:"source"` // "cache" or "load"
	Shared bool   `json:"shared"` // with other clients
}

type server struct {
	st    *store
	read  func(ctx context.Context, city string) (reading, error) // st's
	write func(context.Context, reading) error

	memory  singleflight.Cache[key, answer] // of this process; with Redis, it stores nothing
	redis   sharedCache                     // or nil
	flights singleflight.Group[key, answer]
	loads   *semaphore.Weighted
	limit   time.Duration // on the wait before a query, on the query, and on a write

	log   *slog.Logger
	vars  expvar.Map
	asked expvar.Int // readings that clients asked for

	closing context.Context // done when the remaining loads must end
	close   context.CancelFunc
}

func newServer(st *store, memory singleflight.Cache[key, answer], redis sharedCache, log *slog.Logger) *server {
	s := &server{
		st:     st,
		read:   st.read,
		write:  st.write,
		memory: memory,
		redis:  redis,
		loads:  semaphore.NewWeighted(maxLoads),
		limit:  queryLimit,
		log:    log,
	}
	s.closing, s.close = context.WithCancel(context.Background())
	s.vars.Set("singleflight", expvar.Func(s.flightVars))
	s.vars.Set("queries", expvar.Func(s.queryVars))
	return s
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /city/{name}", s.getCity)
	mux.HandleFunc("PUT /city/{name}", s.putCity)
	mux.HandleFunc("GET /cities", s.getCities)
	mux.HandleFunc("GET /debug/vars", s.getVars)
	return mux
}

// get returns the answer for one city, or an error when ctx is done. The load is
// for the cache: it continues after all clients have left.
func (s *server) get(ctx context.Context, k key) (answer, error) {
	s.asked.Add(1)
	a, err, shared := s.flights.Fill(ctx, s.memory, k, func(ctx context.Context) (answer, error) { return s.load(ctx, k) })
	a.Shared = shared
	return a, err
}

// load is run by a flight, at most once at a time for a city. Its ctx is never
// canceled, so everything that it does has a time limit.
func (s *server) load(ctx context.Context, k key) (a answer, err error) {
	// A panic ends the process if all clients have left. The rest of the
	// flight, memory's Get and Set, does not panic.
	defer func() {
		if p := recover(); p != nil {
			stack := debug.Stack()
			s.log.Error("load panicked", "city", k.city, "panic", p, "stack", string(stack))
			err = &singleflight.PanicError{Value: p, Stack: stack} // an ordinary error, because it is returned
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()

	if s.redis != nil {
		return readShared(ctx, s.redis, k, s.query)
	}
	r, err := s.query(ctx, k)
	return answer{reading: r, Source: "load"}, err
}

// query asks the database, beside at most maxLoads-1 others. It logs errors that
// clients must not see.
func (s *server) query(ctx context.Context, k key) (reading, error) {
	turn, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	if err := s.loads.Acquire(turn, 1); err != nil {
		if ctx.Err() != nil {
			return reading{}, ctx.Err() // the service is stopping
		}
		s.log.Warn("query did not get its turn", "city", k.city)
		return reading{}, errBusy
	}
	defer s.loads.Release(1)
	bound, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	r, err := s.read(bound, k.city)
	switch {
	case err == nil:
		return r, nil
	case errors.Is(err, errNoCity):
		return r, fmt.Errorf("%w: %q", errNoCity, k.city)
	case ctx.Err() != nil:
		return r, ctx.Err() // the service is stopping
	}
	s.log.Error("query failed", "city", k.city, "err", err)
	return r, errDatabase
}

func (s *server) getCity(w http.ResponseWriter, r *http.Request) {
	k := key{r.PathValue("name")}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		fail(w, fmt.Errorf("%w: malformed query", errBad))
		return
	}
	ctx := r.Context()
	if query.Has("wait") {
		wait, err := time.ParseDuration(query.Get("wait"))
		if err != nil || wait <= 0 {
			fail(w, fmt.Errorf("%w: wait %q is not a duration such as 50ms", errBad, query.Get("wait")))
			return
		}
		late := fmt.Errorf("%w within %v; ask again", errWait, wait)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, wait, late)
		defer cancel()
	}
	a, err := s.get(ctx, k)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, a)
}

func (s *server) getCities(w http.ResponseWriter, r *http.Request) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	names := query["name"]
	if err != nil || len(names) == 0 || len(names) > maxNames {
		fail(w, fmt.Errorf("%w: want 1 to %d parameters name=…", errBad, maxNames))
		return
	}
	// The first error cancels ctx, so the other calls leave their flights. The
	// loads continue and fill the cache.
	g, ctx := errgroup.WithContext(r.Context())
	answers := make([]answer, len(names))
	for i, name := range names {
		g.Go(func() (err error) {
			answers[i], err = s.get(ctx, key{name})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, answers)
}

// putCity writes a reading. A client that asks after the answer gets this reading
// or a later one.
func (s *server) putCity(w http.ResponseWriter, r *http.Request) {
	k := key{r.PathValue("name")}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var in struct{ Celsius *float64 }
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		err = fmt.Errorf("%w: more than %d bytes", errBig, big.Limit)
	case err != nil:
		err = fmt.Errorf("%w: cannot read the body", errBad)
	case json.Unmarshal(body, &in) != nil || in.Celsius == nil:
		err = fmt.Errorf(`%w: want {"celsius": a number}`, errBad)
	}
	if err != nil {
		fail(w, err)
		return
	}
	written := reading{City: k.city, Celsius: *in.Celsius, At: time.Now().UTC().Truncate(time.Millisecond)}
	if err := s.put(context.WithoutCancel(r.Context()), k, written); err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, written)
}

// put is completed even if the client hangs up, because ctx is never canceled.
func (s *server) put(ctx context.Context, k key, r reading) error {
	bound, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	err := s.write(bound, r)
	if errors.Is(err, errNoCity) {
		return fmt.Errorf("%w: %q", errNoCity, k.city)
	}
	// The order is write, drop, invalidate, answer, and no two can change places.
	// After a drop or invalidation before the write, a load would keep the old
	// row. After an invalidation before the drop, a flight would get the old
	// entry from Redis, and clients that come after the answer could join it.
	//
	// Continue even after an error, because the row may have been written.
	var dropped error
	if s.redis != nil {
		dropped = s.redis.Drop(ctx, k)
	}
	s.flights.Invalidate(s.memory, k)
	if err != nil {
		s.log.Error("write failed", "city", k.city, "err", err)
		return errDatabase
	}
	if dropped != nil {
		return errCache
	}
	return nil
}

// getVars serves the page of expvar.Handler with the variables of this server
// added. A process may have several servers, but expvar.Publish accepts each name
// only once.
func (s *server) getVars(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	sep := "{\n"
	line := func(kv expvar.KeyValue) {
		fmt.Fprintf(w, "%s%q: %s", sep, kv.Key, kv.Value)
		sep = ",\n"
	}
	expvar.Do(line)
	s.vars.Do(line)
	fmt.Fprint(w, "\n}\n")
}

func (s *server) flightVars() any {
	st := s.flights.Stats()
	return map[string]any{
		"executions": st.Executions,
		"joined":     st.Joined,
		"left":       st.Left,
		"in_flight":  st.InFlight,
		"running":    st.Running,
		"saved":      share(st.Joined, st.Executions+st.Joined),
	}
}

// queryVars reports how many queries the cache and the Group have saved together.
func (s *server) queryVars() any {
	asked, executed := s.asked.Value(), s.st.queries.Value()
	return map[string]any{
		"asked":    asked,
		"executed": executed,
		"saved":    share(uint64(max(asked-executed, 0)), uint64(asked)),
	}
}

func share(part, whole uint64) float64 { return float64(part) / float64(max(whole, 1)) }

// The errors that clients see. Any other error is reported to them as an internal
// error.
var (
	errBad      = errors.New("bad request")
	errBig      = errors.New("too large")
	errDatabase = errors.New("the database failed")
	errBusy     = errors.New("too many cities are being loaded; ask again")
	errWait     = errors.New("no reading")
	errCache    = errors.New("written, but the cache did not confirm it: clients may get the old reading for a while; put it again")
)

func fail(w http.ResponseWriter, err error) {
	var status int
	switch {
	case errors.Is(err, context.Canceled):
		panic(http.ErrAbortHandler) // the client has gone; a return would send status 200
	case errors.Is(err, errBad):
		status = http.StatusBadRequest
	case errors.Is(err, errBig):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, errNoCity):
		status = http.StatusNotFound
	case errors.Is(err, errDatabase):
		status = http.StatusBadGateway
	case errors.Is(err, errBusy), errors.Is(err, errCache):
		status = http.StatusServiceUnavailable
	case errors.Is(err, errWait):
		status = http.StatusGatewayTimeout
	default:
		status, err = http.StatusInternalServerError, errors.New("internal error")
	}
	reply(w, status, map[string]string{"error": err.Error()})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // an error means that the client has gone
}

// stop ends the loads that remain after the last request, and waits for them.
func (s *server) stop(ctx context.Context) error {
	s.close()
	// A WaitGroup would not do: a load begins on its own goroutine, which may be
	// after the end of the request that started it.
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for s.flights.Stats().Running > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
