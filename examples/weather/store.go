// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/json"
	"errors"
	"expvar"
	"net/url"
	"strings"
	"time"

	_ "modernc.org/sqlite"
)

// A reading is the weather of a city. All clients that ask for it share it, so it
// holds nothing that one of them could change.
type reading struct {
	City    string    `json:"city"`
	Celsius float64   `json:"celsius"`
	At      time.Time `json:"at"`
}

var errNoCity = errors.New("no such city")

//go:embed cities.txt
var cities string

// A store is the database. It counts the queries it executes.
type store struct {
	db      *sql.DB
	slow    time.Duration
	queries expvar.Int
}

// openStore opens the database at path, and fills it if it is new. Each read is
// delayed by slow.
func openStore(ctx context.Context, path string, slow time.Duration) (*store, error) {
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: url.Values{
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(NORMAL)"},
		"_txlock": {"immediate"},
	}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	s := &store{db: db, slow: slow}
	if err := s.seed(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func (s *store) seed(ctx context.Context) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS readings
		(city TEXT PRIMARY KEY, celsius REAL NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID`); err != nil {
		return err
	}
	names, err := json.Marshal(strings.Split(strings.TrimSpace(cities), "\n"))
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO readings
		SELECT value, abs(random() % 350) / 10.0, ? FROM json_each(?)`, time.Now().UnixMilli(), string(names)); err != nil {
		return err
	}
	return tx.Commit()
}

// read returns the reading of city, or errNoCity.
func (s *store) read(ctx context.Context, city string) (reading, error) {
	s.queries.Add(1)
	var at int64
	r := reading{City: city}
	err := s.db.QueryRowContext(ctx, `SELECT celsius, at FROM readings WHERE city = ?`, city).Scan(&r.Celsius, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return reading{}, errNoCity
	}
	if err != nil {
		return reading{}, err
	}
	r.At = time.UnixMilli(at).UTC()
	if s.slow > 0 {
		select {
		case <-time.After(s.slow):
		case <-ctx.Done():
			return reading{}, ctx.Err()
		}
	}
	return r, nil
}

// write replaces the reading of r.City, or returns errNoCity.
func (s *store) write(ctx context.Context, r reading) error {
	res, err := s.db.ExecContext(ctx, `UPDATE readings SET celsius = ?, at = ? WHERE city = ?`,
		r.Celsius, r.At.UnixMilli(), r.City)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return errNoCity
}

func (s *store) close() error { return s.db.Close() }
