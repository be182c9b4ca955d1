package caddymodule

import (
	"context"
	"log/slog"
	"slices"

	"go.uber.org/zap/exp/zapslog"

	"github.com/caddyserver/caddy/v2"
)

// currentLog writes to Caddy's default logger as it is at that moment. It is for what outlives the configuration that
// started it: a logger of that configuration would go on writing to a log that has been closed or redirected.
type currentLog struct {
	attrs []slog.Attr
}

func (l currentLog) handler() slog.Handler {
	return zapslog.NewHandler(caddy.Log().Core(), zapslog.WithName("llm"), zapslog.AddStacktraceAt(slog.Level(127))).WithAttrs(l.attrs)
}

// Enabled implements slog.Handler.
func (l currentLog) Enabled(ctx context.Context, level slog.Level) bool {
	return l.handler().Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (l currentLog) Handle(ctx context.Context, record slog.Record) error {
	return l.handler().Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (l currentLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return currentLog{append(slices.Clip(l.attrs), attrs...)}
}

// WithGroup implements slog.Handler. Engines have no groups.
func (l currentLog) WithGroup(string) slog.Handler { return l }
