// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	_ "modernc.org/sqlite"
)

// rows is the number of orders. The query compares each with every other order of
// its shop, which takes some tenths of a second.
const rows = 6_000

var shops = [...]string{"Antwerp", "Bergen", "Cádiz"}

// order returns the n-th order. It is computed, so that truth does not need the database.
func order(n int) (shop string, cents int) {
	return shops[n%len(shops)], 100 + n*7919%99_991
}

// An answer says how many pairs of orders of a shop differ by less than a euro.
type answer struct {
	Pairs int
}

// truth is what the database should answer for shop.
func truth(shop string) (a answer) {
	var all []int
	for n := range rows {
		if of, cents := order(n); of == shop {
			all = append(all, cents)
		}
	}
	for i, x := range all {
		for _, y := range all[:i] {
			if max(x, y)-min(x, y) < 100 {
				a.Pairs++
			}
		}
	}
	return a
}

// A store is the database that all processes share: one file. It has a table
// of orders, one that keeps answers, and one that counts loads.
type store struct{ db *sql.DB }

func openStore(dir string) (*store, error) {
	db, err := sql.Open("sqlite", "file:"+url.PathEscape(filepath.Join(dir, "orders.db"))+"?_pragma=journal_mode(wal)&_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return &store{db}, nil
}

func (s *store) close() error { return s.db.Close() }

func (s *store) fill(ctx context.Context) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `
		CREATE TABLE orders (shop TEXT, cents INTEGER);
		CREATE TABLE answers (shop TEXT PRIMARY KEY, pairs INTEGER);
		CREATE TABLE loads (process INTEGER)`); err != nil {
		return err
	}
	insert, err := tx.PrepareContext(ctx, `INSERT INTO orders VALUES (?, ?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	for n := range rows {
		shop, cents := order(n)
		if _, err := insert.ExecContext(ctx, shop, cents); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// kept returns the answer that an earlier load has stored.
func (s *store) kept(ctx context.Context, shop string) (a answer, ok bool, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT pairs FROM answers WHERE shop = ?`, shop).Scan(&a.Pairs)
	if errors.Is(err, sql.ErrNoRows) {
		return a, false, nil
	}
	return a, err == nil, err
}

func (s *store) keep(ctx context.Context, shop string, a answer) error {
	_, err := s.db.ExecContext(ctx, `INSERT OR REPLACE INTO answers VALUES (?, ?)`, shop, a.Pairs)
	return err
}

// count records a load before it begins, so that it counts even if it is killed.
func (s *store) count(ctx context.Context, process int) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO loads VALUES (?)`, process)
	return err
}

// loads returns how many loads each of n processes has begun.
func (s *store) loads(ctx context.Context, n int) ([]int, error) {
	each := make([]int, n)
	list, err := s.db.QueryContext(ctx, `SELECT process, count(*) FROM loads GROUP BY process`)
	if err != nil {
		return nil, err
	}
	defer list.Close()
	for list.Next() {
		var process, count int
		if err := list.Scan(&process, &count); err != nil {
			return nil, err
		}
		if process < 0 || process >= n {
			return nil, fmt.Errorf("a load of process %d", process)
		}
		each[process] = count
	}
	return each, list.Err()
}

// query is the work: all pairs of a shop's orders.
func (s *store) query(ctx context.Context, shop string) (a answer, err error) {
	err = s.db.QueryRowContext(ctx, `
		SELECT count(*) FROM orders a JOIN orders b ON a.rowid > b.rowid AND abs(a.cents - b.cents) < 100
		WHERE a.shop = ?1 AND b.shop = ?1`, shop).Scan(&a.Pairs)
	return a, err
}
