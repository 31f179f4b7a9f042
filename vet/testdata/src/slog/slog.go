// Package slog is quicker to load than log/slog.
package slog

import "context"

func InfoContext(ctx context.Context, msg string, args ...any) {}
