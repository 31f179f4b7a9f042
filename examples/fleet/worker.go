package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/natskv"
)

// A worker is this program again, with its orders in workerEnv. It tells on its
// standard output when it is ready, begins when it reads a line, and ends when
// its standard input does.
const workerEnv = "FLEET_WORKER"

const (
	bucket = "reports"
	shop   = "Bergen"

	// Short, so that nobody has to wait long for the takeover. A service whose
	// processes may stand still for longer takes more.
	lease   = 2 * time.Second
	timeout = lease / 4
)

type orders struct {
	Process, Callers int
	URL, Dir         string
}

// A message is what a worker tells. Times are by the wall, which all processes share.
type message struct {
	Ready bool `json:",omitempty"`

	// A load has begun, or ended.
	Began, Ended time.Time `json:",omitzero"`

	// All callers have their answers.
	Came, First, Last time.Time     `json:",omitzero"`
	Slowest           time.Duration `json:",omitempty"`

	Error string `json:",omitempty"`
}

func work() {
	var o orders
	err := json.Unmarshal([]byte(os.Getenv(workerEnv)), &o)
	if err == nil {
		err = o.follow(context.Background())
	}
	if err != nil {
		tell(message{Error: err.Error()})
		os.Exit(1)
	}
}

func tell(m message) {
	line, err := json.Marshal(m)
	if err == nil {
		_, err = os.Stdout.Write(append(line, '\n'))
	}
	if err != nil {
		os.Exit(1) // nobody listens
	}
}

func (o orders) follow(ctx context.Context) error {
	st, err := openStore(o.Dir)
	if err != nil {
		return err
	}
	defer st.close()
	nc, err := nats.Connect(o.URL,
		nats.MaxReconnects(-1),
		// A server that is silent is noticed within three intervals.
		nats.PingInterval(2*time.Second),
		nats.MaxPingsOutstanding(2))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	engine, err := natskv.Open(ctx, js, bucket)
	if err != nil {
		return err
	}
	defer engine.Close()
	reports, err := fleet.New[answer](engine, fleet.Lease(lease), fleet.EngineTimeout(timeout))
	if err != nil {
		return err
	}

	tell(message{Ready: true})
	line := make([]byte, 1)
	if _, err := os.Stdin.Read(line); err != nil {
		return errors.New("nobody gave the signal")
	}
	m, err := o.ask(ctx, reports, st)
	if err != nil {
		return err
	}
	tell(m)
	os.Stdin.Read(line) // until the others are done too
	return nil
}

// ask has all callers ask for the report of the shop at once.
func (o orders) ask(ctx context.Context, reports *fleet.Group[answer], st *store) (m message, err error) {
	load := func(ctx context.Context) (answer, error) {
		// Somebody, here or in another process, may have stored it since.
		if a, ok, err := st.kept(ctx, shop); ok || err != nil {
			return a, err
		}
		if err := st.count(ctx, o.Process); err != nil {
			return answer{}, err
		}
		tell(message{Began: time.Now()})
		a, err := st.query(ctx, shop)
		if err == nil {
			err = st.keep(ctx, shop, a)
		}
		tell(message{Ended: time.Now()})
		return a, err
	}

	want := truth(shop)
	answered := make([]time.Time, o.Callers)
	began := make([]time.Time, o.Callers)
	var callers errgroup.Group
	m.Came = time.Now()
	for i := range o.Callers {
		callers.Go(func() error {
			began[i] = time.Now()
			a, err, _ := reports.DoContext(ctx, shop, load)
			answered[i] = time.Now()
			if err == nil && a != want {
				err = fmt.Errorf("a caller got %+v, want %+v", a, want)
			}
			return err
		})
	}
	if err := callers.Wait(); err != nil {
		return m, err
	}
	m.First, m.Last = answered[0], answered[0]
	for i, t := range answered {
		if t.Before(m.First) {
			m.First = t
		}
		if t.After(m.Last) {
			m.Last = t
		}
		m.Slowest = max(m.Slowest, t.Sub(began[i]))
	}
	return m, nil
}
