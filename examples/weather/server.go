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
	maxLoads   = 10       // queries at once
	maxNames   = 100      // in one request
	maxBody    = 64 << 10 // bytes
	maxTries   = 3        // of a load that a write overtakes
	queryLimit = 5 * time.Second
)

// A key names a flight: everything that the answer depends on, and nothing
// else. If it came to depend on a language or a tenant, that would go here.
type key struct {
	city string
}

// An answer is what a client gets.
type answer struct {
	reading
	Source string `json:"source"` // "cache" or "load"
	Shared bool   `json:"shared"` // with others who asked meanwhile
}

type server struct {
	st    *store
	read  func(ctx context.Context, city string) (reading, error) // st's
	write func(context.Context, reading) error

	cache   cache
	near    bool // the cache is in this process: a look costs less than a flight
	flights singleflight.Group[key, answer]
	loads   *semaphore.Weighted
	limit   time.Duration // on a query and on a write

	log   *slog.Logger
	vars  expvar.Map
	asked expvar.Int // readings that clients asked for

	closing context.Context // done when loads that nobody waits for shall end
	close   context.CancelFunc
}

func newServer(st *store, c cache, log *slog.Logger) *server {
	s := &server{
		st:    st,
		read:  st.read,
		write: st.write,
		cache: c,
		loads: semaphore.NewWeighted(maxLoads),
		limit: queryLimit,
		log:   log,
	}
	_, s.near = c.(*memory)
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

// get answers one request for one city, for as long as ctx lasts. Whoever
// leaves leaves alone: the load goes on while anybody waits for it.
func (s *server) get(ctx context.Context, k key) (answer, error) {
	s.asked.Add(1)
	if a, ok := s.look(ctx, k); ok {
		return a, nil
	}
	a, err, shared := s.flights.DoContext(ctx, k, func(ctx context.Context) (answer, error) { return s.load(ctx, k) })
	a.Shared = shared
	return a, err
}

// getWithin is get for a client who waits no longer than wait. The load goes
// on, whoever leaves, and fills the cache.
func (s *server) getWithin(ctx context.Context, k key, wait time.Duration) (answer, error) {
	s.asked.Add(1)
	if a, ok := s.look(ctx, k); ok {
		return a, nil
	}
	flight := s.flights.DoChan(k, func() (answer, error) { return s.load(context.Background(), k) })
	select {
	case res := <-flight:
		a := res.Val
		a.Shared = res.Shared
		return a, res.Err
	case <-time.After(wait):
		return answer{}, fmt.Errorf("%w within %v; it is being loaded, ask again", errWait, wait)
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

// look is the first look into the cache. A cache across the network is asked
// by load alone: the ten thousand who miss would be ten thousand questions
// to it, and within the flight they are one.
func (s *server) look(ctx context.Context, k key) (a answer, ok bool) {
	if !s.near {
		return a, false
	}
	r, _, ok := s.cache.Get(ctx, k)
	return answer{reading: r, Source: "cache"}, ok
}

// load is what a flight runs, at most once at a time for a city.
func (s *server) load(ctx context.Context, k key) (a answer, err error) {
	// A panic that reaches a DoChan channel, or nobody, ends the process.
	defer func() {
		if p := recover(); p != nil {
			stack := debug.Stack()
			s.log.Error("load panicked", "city", k.city, "panic", p, "stack", string(stack))
			err = &singleflight.PanicError{Value: p, Stack: stack} // returned, it is an error like any other
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()

	for try := 1; ; try++ {
		// Look again: a flight may have filled the cache and ended since the
		// first look. And note the key's generation before the database is read.
		r, keep, ok := s.cache.Get(ctx, k)
		if ok {
			return answer{reading: r, Source: "cache"}, nil
		}
		if r, err = s.query(ctx, k); err != nil {
			return a, err
		}
		// Keep it before the flight ends, so that whoever comes then finds it.
		// If a PUT has moved the generation it is not kept, and if that PUT
		// was in another process, which cannot forget this flight, whoever has
		// joined since must not get the old row.
		if keep(ctx, r) || try == maxTries {
			return answer{reading: r, Source: "load"}, nil
		}
	}
}

// query asks the database, as one of maxLoads. What went wrong is logged
// here, once, and no client sees it.
func (s *server) query(ctx context.Context, k key) (reading, error) {
	if err := s.loads.Acquire(ctx, 1); err != nil {
		return reading{}, err
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
		return r, ctx.Err() // everyone has left
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
	var a answer
	if !query.Has("wait") {
		a, err = s.get(r.Context(), k)
	} else if wait, bad := time.ParseDuration(query.Get("wait")); bad == nil && wait > 0 {
		a, err = s.getWithin(r.Context(), k, wait)
	} else {
		err = fmt.Errorf("%w: wait %q is not a time like 50ms", errBad, query.Get("wait"))
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
		fail(w, fmt.Errorf("%w: want 1 to %d times name=…", errBad, maxNames))
		return
	}
	// The first error cancels ctx, so that all leave their flights: the loads
	// that nobody else waits for are cancelled.
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

// putCity writes a reading. Whoever asks after it was answered gets this one
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
		err = fmt.Errorf("%w: the body did not come", errBad)
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

// put does not stop half-way when its client hangs up: ctx has no end.
func (s *server) put(ctx context.Context, k key, r reading) error {
	bound, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	err := s.write(bound, r)
	if errors.Is(err, errNoCity) {
		return fmt.Errorf("%w: %q", errNoCity, k.city)
	}
	// Write, Drop, Forget, answer. No two can change places:
	//
	// Drop before the write, and a load in between keeps the old row.
	// Forget before Drop, and a flight in between gets the old entry from the
	// cache, to be joined by those who come after the answer.
	//
	// An error does not say that nothing was written: go on.
	dropped := s.cache.Drop(ctx, k)
	s.flights.Forget(k)
	if err != nil {
		s.log.Error("write failed", "city", k.city, "err", err)
		return errDatabase
	}
	if dropped != nil {
		return errCache
	}
	return nil
}

// getVars is the page of expvar.Handler with what is this server's own. The
// process may have several, and expvar.Publish takes a name once.
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

// queryVars says what the cache and the Group have saved together.
func (s *server) queryVars() any {
	asked, executed := s.asked.Value(), s.st.queries.Value()
	return map[string]any{
		"asked":    asked,
		"executed": executed,
		"saved":    share(uint64(max(asked-executed, 0)), uint64(asked)),
	}
}

func share(part, whole uint64) float64 { return float64(part) / float64(max(whole, 1)) }

// Everything that a client is told when it is not an answer. An error that is
// none of these is our fault, and our business.
var (
	errBad      = errors.New("bad request")
	errBig      = errors.New("too large")
	errDatabase = errors.New("the database failed")
	errWait     = errors.New("no reading")
	errCache    = errors.New("written, but the cache did not confirm: readers may see the old reading for a while; put it again")
)

func fail(w http.ResponseWriter, err error) {
	var status int
	switch {
	case errors.Is(err, context.Canceled):
		panic(http.ErrAbortHandler) // the client has gone; to return would be to say 200
	case errors.Is(err, errBad):
		status = http.StatusBadRequest
	case errors.Is(err, errBig):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, errNoCity):
		status = http.StatusNotFound
	case errors.Is(err, errDatabase):
		status = http.StatusBadGateway
	case errors.Is(err, errCache):
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
	json.NewEncoder(w).Encode(v) // a client who has gone is none of our concern
}

// stop ends the loads that are left when no request is, and waits for them.
func (s *server) stop(ctx context.Context) error {
	s.close()
	// Not a WaitGroup: DoChan's fn begins on its own time, perhaps after the
	// request that started it.
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
