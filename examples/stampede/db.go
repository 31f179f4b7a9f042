// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite"
)

const (
	rows  = 8_000 // there is no index, so each query reads all of them
	conns = 4     // in the pool; queries wait for one
)

// A key identifies a sum. It holds everything that the query depends on, and nothing else.
type key struct {
	shop  string
	month time.Month
}

type sum struct {
	orders, cents int64
}

// order returns the n-th row. It is computed, so that the sum for a key is also known without the database.
func order(n int) (k key, cents int64) {
	shops := [...]string{"Antwerp", "Bergen", "Cádiz"}
	return key{shops[n%len(shops)], time.Month(1 + n/len(shops)%12)}, int64(100 + n*7919%9973)
}

// truth returns the sum that the database should return for k.
func truth(k key) (s sum) {
	for n := range rows {
		if of, cents := order(n); of == k {
			s.orders++
			s.cents += cents
		}
	}
	return s
}

// A store is a database of orders that counts the queries it executes.
type store struct {
	db      *sql.DB
	dir     string
	queries atomic.Int64
}

func newStore(ctx context.Context) (s *store, err error) {
	dir, err := os.MkdirTemp("", "stampede-")
	if err != nil {
		return nil, err
	}
	s = &store{dir: dir}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.db, err = sql.Open("sqlite", filepath.Join(dir, "orders.db")); err != nil {
		return nil, err
	}
	s.db.SetMaxOpenConns(conns)
	s.db.SetMaxIdleConns(conns)
	return s, s.fill(ctx)
}

func (s *store) fill(ctx context.Context) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `CREATE TABLE orders (shop TEXT, month INTEGER, cents INTEGER)`); err != nil {
		return err
	}
	insert, err := tx.PrepareContext(ctx, `INSERT INTO orders VALUES (?, ?, ?)`)
	if err != nil {
		return err
	}
	for n := range rows {
		k, cents := order(n)
		if _, err := insert.ExecContext(ctx, k.shop, int(k.month), cents); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (s *store) close() error {
	var err error
	if s.db != nil {
		err = s.db.Close()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// An answer is a sum, with the times at which its query began and ended.
type answer struct {
	sum
	began, ended time.Time
}

// query asks the database. The time it waits for a connection does not count as part of the query.
func (s *store) query(ctx context.Context, k key) (a answer, err error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return a, err
	}
	defer conn.Close()

	s.queries.Add(1)
	a.began = time.Now()
	err = conn.QueryRowContext(ctx, `SELECT count(*), sum(cents) FROM orders WHERE shop = ? AND month = ?`,
		k.shop, int(k.month)).Scan(&a.orders, &a.cents)
	a.ended = time.Now()
	return a, err
}
