// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package web has the types that belong to one request, and takes less time to load
// than net/http and database/sql.
package web

import (
	"context"
	"web/internal/page"
)

type Request struct{ Header map[string]string }

func (*Request) Context() context.Context { return nil }

type ResponseWriter interface{ WriteHeader(status int) }

type Tx struct{}

func (*Tx) ExecContext(ctx context.Context, query string) (any, error) { return nil, nil }

func NewPage() (*page.Page, error) { return nil, nil }

type Rows struct{}

func (*Tx) QueryContext(ctx context.Context, query string) (*Rows, error) { return nil, nil }

func RequestID(ctx context.Context) string { return "" }

type Context struct{ Path string }

type LoggingResponseWriter struct{ ResponseWriter }

type session struct{}

func NewSessions() ([]*session, error) { return nil, nil }

type List[T any] []T

func NewSessionList() (List[*session], error) { return nil, nil }

func (*Tx) Count(ctx context.Context) int { return 0 }
