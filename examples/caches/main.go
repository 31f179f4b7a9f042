// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Caches reads through the in-process caches of four libraries with Fill, and
// writes with Invalidate. Each adapter is in a file of its own.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"example.com/singleflight"
)

// A User is what the service keeps.
type User struct {
	ID   int64
	Name string
}

// A service reads and writes users through a cache.
type service struct {
	db    *database
	users singleflight.Group[int64, User]
	cache singleflight.Cache[int64, User]
}

func (s *service) read(ctx context.Context, id int64) (User, error) {
	user, err, _ := s.users.Fill(ctx, s.cache, id, func(ctx context.Context) (User, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return s.db.loadUser(ctx, id)
	})
	return user, err
}

// write invalidates even if the database returns an error, because the user may
// have been written.
func (s *service) write(ctx context.Context, user User) error {
	err := s.db.saveUser(ctx, user)
	s.users.Invalidate(s.cache, user.ID)
	return err
}

const maxEntries = 10_000

// caches lists the caches. Each open function also returns how to stop the cache.
var caches = []struct {
	name string
	open func() (cache singleflight.Cache[int64, User], stop func())
}{
	{"golang-lru", newLRU[int64, User]},
	{"golang-lru/expirable", newExpirable[int64, User]},
	{"otter", newOtter[int64, User]},
	{"ristretto", newRistretto[int64, User]},
	{"ttlcache", newTTLCache[int64, User]},
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "caches:", err)
		os.Exit(1)
	}
}

// run does the following with each cache, for two names in turn: it writes a
// user with that name, and has a thousand callers read the user, twice.
func run(ctx context.Context, out io.Writer) error {
	fmt.Fprintf(out, "%-22s%8s%8s%10s\n", "", "reads", "loads", "read last")
	for _, c := range caches {
		cache, stop := c.open()
		s := &service{db: newDatabase(), cache: cache}
		reads, last, err := s.tryOut(ctx)
		stop()
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Fprintf(out, "%-22s%8d%8d%10s\n", c.name, reads, s.db.loads, last.Name)
	}
	return nil
}

// tryOut returns the number of reads, and the user that was read last.
func (s *service) tryOut(ctx context.Context) (reads int, last User, err error) {
	const id, callers = 42, 1000
	for _, name := range []string{"Ada", "Grace"} {
		if err := s.write(ctx, User{id, name}); err != nil {
			return reads, last, err
		}
		for range 2 {
			if last, err = readAtOnce(ctx, s, id, callers); err != nil {
				return reads, last, err
			}
			reads += callers
		}
	}
	return reads, last, nil
}

// readAtOnce has n callers read the user id at once, and returns the user.
func readAtOnce(ctx context.Context, s *service, id int64, n int) (User, error) {
	users := make([]User, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { users[i], errs[i] = s.read(ctx, id) })
	}
	wg.Wait()
	for i := range n {
		if errs[i] != nil || users[i] != users[0] {
			return User{}, fmt.Errorf("caller %d got %v, %v, and caller 0 %v", i, users[i], errs[i], users[0])
		}
	}
	return users[0], nil
}

// A database stands in for a real one. It holds users, and a load takes a while.
type database struct {
	mu    sync.Mutex
	users map[int64]User
	loads int
}

func newDatabase() *database { return &database{users: make(map[int64]User)} }

func (db *database) loadUser(ctx context.Context, id int64) (User, error) {
	db.mu.Lock()
	db.loads++
	user, ok := db.users[id]
	db.mu.Unlock()
	if !ok {
		return User{}, fmt.Errorf("no user %d", id)
	}
	select {
	case <-time.After(50 * time.Millisecond):
		return user, nil
	case <-ctx.Done():
		return User{}, ctx.Err()
	}
}

func (db *database) saveUser(_ context.Context, user User) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.users[user.ID] = user
	return nil
}
