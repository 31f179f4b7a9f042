// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package slog takes less time to load than log/slog.
package slog

import "context"

func InfoContext(ctx context.Context, msg string, args ...any) {}
