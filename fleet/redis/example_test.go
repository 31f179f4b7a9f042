// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package redis_test

import (
	"context"
	"fmt"

	goredis "github.com/redis/go-redis/v9"

	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/redis"
)

// It needs a Redis server, and so it is compiled but not run with the tests.
func Example() {
	ctx := context.Background()
	client := goredis.NewClient(&goredis.Options{Addr: "localhost:6379"})
	defer client.Close()
	e, err := redis.Open(ctx, client, "reports")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Close()
	reports, err := fleet.New[string](e)
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err, _ := reports.DoContext(ctx, "sales", func(context.Context) (string, error) {
		return "42 boats", nil // in one process, while the others wait
	})
	fmt.Println(report, err)
}
