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

	memory  singleflight.Cache[key, answer] // of this process: with Redis, nothing
	redis   sharedCache                     // or nil
	flights singleflight.Group[key, answer]
	loads   *semaphore.Weighted
	limit   time.Duration // on the wait for a query's turn, on a query and on a write

	log   *slog.Logger
	vars  expvar.Map
	asked expvar.Int // readings that clients asked for

	closing context.Context // done when the loads that are left must end
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

// get answers one request for one city, for as long as ctx lasts. The load is
// for the cache: it goes on when everyone who waited for it has left.
func (s *server) get(ctx context.Context, k key) (answer, error) {
	s.asked.Add(1)
	a, err, shared := s.flights.Fill(ctx, s.memory, k, func(ctx context.Context) (answer, error) { return s.load(ctx, k) })
	a.Shared = shared
	return a, err
}

// load is what a flight runs, at most once at a time for a city. Its ctx has no
// end, so everything in it has a limit.
func (s *server) load(ctx context.Context, k key) (a answer, err error) {
	// A panic ends the process if everyone who waited has left. There is none
	// in the rest of the flight, which is memory's Get and Set.
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

	if s.redis != nil {
		return readShared(ctx, s.redis, k, s.query)
	}
	r, err := s.query(ctx, k)
	return answer{reading: r, Source: "load"}, err
}

// query asks the database, as one of maxLoads. What went wrong is logged
// here, once, and no client sees it.
func (s *server) query(ctx context.Context, k key) (reading, error) {
	turn, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	if err := s.loads.Acquire(turn, 1); err != nil {
		if ctx.Err() != nil {
			return reading{}, ctx.Err() // the service ends
		}
		s.log.Warn("query had no turn", "city", k.city)
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
		return r, ctx.Err() // the service ends
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
			fail(w, fmt.Errorf("%w: wait %q is not a time like 50ms", errBad, query.Get("wait")))
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
		fail(w, fmt.Errorf("%w: want 1 to %d times name=…", errBad, maxNames))
		return
	}
	// The first error cancels ctx, so that all leave their flights. Their loads
	// go on and fill the cache.
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

// putCity writes a reading. A client that asks after it was answered gets this
// reading or a later one.
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
	// Write, drop, invalidate, answer. No two can change places:
	//
	// Drop or invalidate before the write, and a load in between keeps the old
	// row. Invalidate before Drop, and a flight in between gets the old entry
	// from Redis, to be joined by those who come after the answer.
	//
	// An error does not say that nothing was written: go on.
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
	errBusy     = errors.New("too many cities are asked for at once; ask again")
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
	json.NewEncoder(w).Encode(v) // a client who has gone is none of our concern
}

// stop ends the loads that are left when no request is, and waits for them.
func (s *server) stop(ctx context.Context) error {
	s.close()
	// Not a WaitGroup: a load begins on its own goroutine, perhaps after the
	// request that started it has ended.
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
