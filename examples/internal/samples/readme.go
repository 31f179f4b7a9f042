// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package samples has the code that README.md, MIGRATING.md, TESTING.md and
// the package documentation show. A test compares them.
package samples

import (
	"context"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

import "example.com/singleflight"

var users singleflight.Group[int64, User] // the zero value is ready

func user(ctx context.Context, id int64) (User, error) {
	u, err, _ := users.Fill(ctx, cache, id, func(ctx context.Context) (User, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // the time limit of the load
		defer cancel()
		return db.LoadUser(ctx, id)
	})
	return u, err
}

func saveUser(ctx context.Context, u User) error {
	err := db.SaveUser(ctx, u)
	users.Invalidate(cache, u.ID) // even after an error: it may have been saved
	return err
}

type userCache struct{ *lru.Cache[int64, User] } // Get is there already

func (c userCache) Set(id int64, u User) { c.Add(id, u) }
func (c userCache) Delete(id int64)      { c.Remove(id) }

var cache singleflight.Cache[int64, User] = newUserCache()

func newUserCache() userCache {
	c, err := lru.New[int64, User](100)
	if err != nil {
		panic(err) // the size is not positive
	}
	return userCache{c}
}

func showPage(ctx context.Context, key string) (Page, error) {
	page, err, _ := pages.DoContext(ctx, key, func(ctx context.Context) (Page, error) {
		return render(ctx, key) // ctx is canceled when the last caller leaves
	})
	return page, err
}

var (
	pages    singleflight.Group[string, Page]
	profiles singleflight.Group[int, string]
)

type (
	User struct {
		ID   int64
		Name string
	}
	Page string
)

// A database is a map of users. A load takes a second.
type database struct{ users map[int64]User }

var db = &database{map[int64]User{1: {1, "Ada"}}}

func (db *database) LoadUser(ctx context.Context, id int64) (User, error) {
	u := db.users[id]
	select {
	case <-time.After(time.Second):
		return u, nil
	case <-ctx.Done():
		return User{}, ctx.Err()
	}
}

func (db *database) SaveUser(ctx context.Context, u User) error {
	db.users[u.ID] = u
	return nil
}

func render(ctx context.Context, key string) (Page, error) {
	<-ctx.Done()
	return "", ctx.Err()
}
