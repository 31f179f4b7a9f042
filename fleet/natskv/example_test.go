// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package natskv_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/natskv"
)

// startServer starts a NATS server in this process.
func startServer(dir string) *server.Server {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		log.Fatal("the server does not start")
	}
	return s
}

// One process makes a bucket, and opens it. The others do the same.
func Example() {
	dir, err := os.MkdirTemp("", "natskv-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s := startServer(dir)
	defer s.Shutdown()

	ctx := context.Background()
	nc, err := nats.Connect(s.ClientURL(),
		nats.MaxReconnects(-1),
		nats.PingInterval(2*time.Second),
		nats.MaxPingsOutstanding(2))
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	err = natskv.CreateBucket(ctx, js, jetstream.KeyValueConfig{Bucket: "reports"})
	if err != nil {
		log.Fatal(err)
	}
	e, err := natskv.Open(ctx, js, "reports")
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	reports, err := fleet.New[string](e, fleet.Lease(20*time.Second))
	if err != nil {
		log.Fatal(err)
	}

	report, err, _ := reports.DoContext(ctx, "sales", func(context.Context) (string, error) {
		return "42 boats", nil // in one process, while the others wait
	})
	fmt.Println(report, err)
	// Output:
	// 42 boats <nil>
}
