// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package fleets holds the code that the READMEs of fleet and of its engines
// show, so that it compiles.
package fleets

//lint:file-ignore SA4006,SA5001 The pages leave out what a program does about errors.

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	goredis "github.com/redis/go-redis/v9"

	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/natskv"
	"example.com/singleflight/fleet/redis"
)

type Report struct{ Title string }

var cache interface {
	Get(ctx context.Context, id string) (Report, bool)
	Set(ctx context.Context, id string, r Report)
}

var db interface {
	BuildReport(ctx context.Context, id string) (Report, error)
}

// Load is in the README of fleet.
func Load(ctx context.Context, js jetstream.JetStream, id string) (Report, error) {
	e, err := natskv.Open(ctx, js, "reports") // or redis.Open(ctx, client, "reports")
	reports, err := fleet.New[Report](e)

	r, err, _ := reports.DoContext(ctx, id, func(ctx context.Context) (Report, error) {
		if r, ok := cache.Get(ctx, id); ok { // another call, in any process, may have stored it since
			return r, nil
		}
		r, err := db.BuildReport(ctx, id)
		if err == nil {
			cache.Set(ctx, id, r)
		}
		return r, err
	})
	return r, err
}

// OnNATS is in the README of natskv.
func OnNATS(ctx context.Context, url string) (*fleet.Group[Report], error) {
	nc, err := nats.Connect(url,
		nats.MaxReconnects(-1),           // never give up, however long the server is away
		nats.PingInterval(2*time.Second), // notice a server that is silent
		nats.MaxPingsOutstanding(2),      // within three such intervals
	)
	js, err := jetstream.New(nc) // or jetstream.NewWithDomain(nc, "hub")
	err = natskv.CreateBucket(ctx, js, jetstream.KeyValueConfig{Bucket: "reports", Replicas: 3})
	e, err := natskv.Open(ctx, js, "reports")
	defer e.Close() // nc stays open
	reports, err := fleet.New[Report](e)
	return reports, err
}

// OnRedis is in the README of redis.
func OnRedis(ctx context.Context) (*fleet.Group[Report], error) {
	client := goredis.NewClient(&goredis.Options{Addr: "redis.internal:6379"}) // github.com/redis/go-redis/v9
	engine, err := redis.Open(ctx, client, "reports")
	defer engine.Close() // client stays open
	reports, err := fleet.New[Report](engine)
	return reports, err
}
