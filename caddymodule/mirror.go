package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/route"
)

// Mirror sends copies of requests to a model under test once they are being answered. Its answers are dropped; how long they took
// and how many failed is in metrics and in the log, where level DEBUG has each of them. Requests that name a provider are not
// copied.
type Mirror struct {
	// The provider's name.
	Provider string `json:"provider,omitempty"`

	// What the provider calls the model. Default: the name the client asked for.
	Model string `json:"model,omitempty"`

	// How many percent of the requests are copied.
	Percent float64 `json:"percent,omitempty"`

	// How long a copy may take. Default: 2m.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// How many copies may be under way. More are dropped. Default: 4.
	MaxRequests int `json:"max_requests,omitempty"`
}

const (
	defaultMirrorTimeout  = 2 * time.Minute
	defaultMirrorRequests = 4
)

// The metrics of models under test. What was counted outlives reloads.
var (
	mirrorRequests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_llm_mirror_requests_total",
		Help: "Copies of requests for a model under test, by outcome: ok, dropped, or what went wrong.",
	}, []string{"model", "provider", "outcome"})
	mirrorDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "caddy_llm_mirror_duration_seconds",
		Help:    "Time that whole answers of a model under test took.",
		Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},
	}, []string{"model", "provider"})
	mirrorTokens = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_llm_mirror_completion_tokens_total",
		Help: "Tokens of the answers of a model under test.",
	}, []string{"model", "provider"})
)

// provision returns the core's mirror of a model.
func (m *Mirror) provision(ctx caddy.Context, h *Handler, model string) (*route.Mirror, error) {
	provider, ok := h.providers[m.Provider]
	switch {
	case !ok:
		return nil, fmt.Errorf("no such provider; there are: %v", h.table.Providers)
	case !(m.Percent > 0 && m.Percent <= 100):
		return nil, errors.New("percent must be more than 0 and at most 100")
	case m.Timeout < 0 || m.MaxRequests < 0:
		return nil, errors.New("timeout and max_requests must not be negative")
	}
	if err := registerMetrics(ctx, mirrorRequests, mirrorDuration, mirrorTokens); err != nil {
		return nil, err
	}
	return &route.Mirror{
		Target: &route.Target{
			Name: m.Provider, Provider: provider, Model: m.Model,
			Timeout: cmp.Or(time.Duration(m.Timeout), defaultMirrorTimeout),
		},
		Share:  m.Percent / 100,
		Most:   cmp.Or(m.MaxRequests, defaultMirrorRequests),
		Report: func(c route.Copy) { reportCopy(h.logger, model, c) },
		// Transports of reverse_proxy expect one. The request's own is not ours once the request has ended.
		Context: func() context.Context {
			return context.WithValue(context.Background(), caddy.ReplacerCtxKey, caddy.NewReplacer())
		},
	}, nil
}

// reportCopy counts and logs how a copy ended.
func reportCopy(logger *zap.Logger, model string, c route.Copy) {
	outcome := "ok"
	switch {
	case c.Dropped:
		outcome = "dropped"
	case c.Err != nil:
		outcome = string(llmgateway.AsError(c.Err).Kind)
	default:
		mirrorDuration.WithLabelValues(model, c.Provider).Observe(c.Duration.Seconds())
	}
	mirrorRequests.WithLabelValues(model, c.Provider, outcome).Inc()
	tokens := 0
	if c.Usage != nil {
		tokens = c.Usage.CompletionTokens
		mirrorTokens.WithLabelValues(model, c.Provider).Add(float64(max(tokens, 0)))
	}
	if log := logger.Check(zap.DebugLevel, "mirrored request ended"); log != nil {
		log.Write(zap.String("model", model), zap.String("provider", c.Provider), zap.String("upstream_model", c.Model),
			zap.String("outcome", outcome), zap.Duration("duration", c.Duration), zap.Duration("first_token", c.FirstToken),
			zap.Int("tokens", tokens), zap.Error(c.Err))
	}
}

// unmarshalMirror parses `mirror <provider>[/<upstream_model>] <percent> { ... }`.
func unmarshalMirror(d *caddyfile.Dispenser, to **Mirror) error {
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.Err("mirror: write the provider, or <provider>/<upstream_model>, and the percentage of requests to copy")
	}
	m := new(Mirror)
	m.Provider, m.Model, _ = strings.Cut(args[0], "/")
	var err error
	if m.Percent, err = strconv.ParseFloat(strings.TrimSuffix(args[1], "%"), 64); err != nil || !(m.Percent > 0 && m.Percent <= 100) {
		return d.Errf("mirror: %q is not a percentage above 0 and up to 100", args[1])
	}
	seen := make(seenWords)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.add(d); err != nil {
			return err
		}
		var err error
		switch word := d.Val(); word {
		case "timeout":
			err = unmarshalDuration(d, &m.Timeout)
		case "max_requests":
			err = unmarshalInt(d, &m.MaxRequests)
		default:
			return d.Errf("unrecognized word %s in a mirror; there are: timeout, max_requests", word)
		}
		if err != nil {
			return err
		}
	}
	*to = m
	return nil
}
