package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/limit"
)

func init() {
	caddy.RegisterModule(Limit{})
}

// Limit bounds what each client may use of the llm handlers that come after it: tokens, money, and requests at once. It
// counts what was really used, by every attempt that a provider has worked for, and nothing for answers from the cache.
//
// Before a request is answered an estimate is taken out of the limits: its prompt by its length, its answer by `max_tokens`
// or 1024 tokens, its cost by the dearest target's price. When the request has ended, however it did, what was used is put
// in its place. A request without room gets the status 429, which says which limit was reached and when there is room again.
//
// Counts survive reloads. Other paths than those that generate are neither counted nor refused.
type Limit struct {
	// Whose use is counted, with placeholders, such as `{http.auth.user.id}`. A request for which one of them is empty is
	// refused, so that strangers do not share one limit by accident; a key without placeholders is one limit for everybody
	// on purpose. Handlers that set the placeholders must come first.
	Key string `json:"key,omitempty"`

	// Limits of one name share what they count, also over reloads and over gateways with the same Redis. Those of one
	// configuration must be equal. Default: the key as it is written.
	Name string `json:"name,omitempty"`

	// How many tokens may be used, of prompts and answers together.
	Tokens []TokenLimit `json:"tokens,omitempty"`

	// How much may be spent. It needs the prices of targets, or providers that say what an answer cost.
	Spend []SpendLimit `json:"spend,omitempty"`

	// How many requests may be answered at once, by this gateway. Default: no bound.
	Parallel int `json:"parallel,omitempty"`

	// A Redis server in which several gateways count together, as redis://[user:password@]host[:port][/database], or
	// rediss:// for TLS; a placeholder such as `{env.REDIS_URL}`. While it is slow or down, each gateway counts for itself.
	// Default: none.
	Redis string `json:"redis,omitempty"`

	limiter *limit.Limiter
	held    bool
	logger  *zap.Logger
	noKey   *sync.Once // logs that there is none
}

// TokenLimit is a number of tokens in a time. The time slides: what was used in the period before still counts in part.
type TokenLimit struct {
	Max int64          `json:"max,omitempty"`
	Per caddy.Duration `json:"per,omitempty"`
}

// SpendLimit is an amount of money in a time that slides.
type SpendLimit struct {
	// In US dollars.
	Max float64        `json:"max,omitempty"`
	Per caddy.Duration `json:"per,omitempty"`
}

// counts holds what all running configurations count, by the names of their limits, so that a reload keeps it.
var counts = caddy.NewUsagePool()

// keptCounts makes counts a caddy.Destructor. They are memory and nothing else.
type keptCounts struct{ *limit.Counts }

// Destruct implements caddy.Destructor.
func (keptCounts) Destruct() error { return nil }

// CaddyModule returns the Caddy module information.
func (Limit) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.llm_limit",
		New: func() caddy.Module { return new(Limit) },
	}
}

// Provision implements caddy.Provisioner. It does not connect.
func (l *Limit) Provision(ctx caddy.Context) error {
	l.logger, l.noKey = ctx.Logger(), new(sync.Once)
	limits, err := l.limits()
	if err != nil {
		return fmt.Errorf("llm_limit: %w", err)
	}
	l.Name = cmp.Or(l.Name, l.Key)
	app, err := ctx.App("llm")
	if err != nil {
		return err
	}
	if err := app.(*App).registerLimit(l); err != nil {
		return err
	}
	l.limiter = &limit.Limiter{Name: l.Name, Limits: limits}
	if l.Redis != "" {
		url, err := caddy.NewReplacer().ReplaceOrErr(l.Redis, true, true)
		if err != nil {
			return errors.New("llm_limit: the placeholder in the URL of redis is empty; set the variable, or remove the word")
		}
		if l.limiter.Shared, err = limit.NewRedis(url, l.redisFailed); err != nil {
			return fmt.Errorf("llm_limit: %w", err)
		}
	}
	value, _ := counts.LoadOrStore(l.Name, keptCounts{new(limit.Counts)})
	l.limiter.Counts, l.held = value.(keptCounts).Counts, true
	return nil
}

func (l *Limit) redisFailed(err error) {
	l.logger.Warn("redis is left alone for a while; this gateway counts for itself", zap.Error(err))
}

// limits checks what is configured and returns it for the core.
func (l *Limit) limits() (limits limit.Limits, err error) {
	if l.Key == "" {
		return limits, errors.New("there is no key: say whose use is counted, such as `key {http.auth.user.id}`")
	}
	if len(l.Tokens)+len(l.Spend) == 0 && l.Parallel == 0 {
		return limits, errors.New("there is no limit: set tokens, spend or parallel")
	}
	if l.Parallel < 0 {
		return limits, errors.New("parallel is negative")
	}
	limits.Parallel = l.Parallel
	for _, t := range l.Tokens {
		limits.Windows = append(limits.Windows, limit.Window{Kind: limit.Tokens, Max: t.Max, Per: time.Duration(t.Per)})
	}
	for _, s := range l.Spend {
		nanos := math.Round(min(s.Max, maxSpend) * limit.USD)
		limits.Windows = append(limits.Windows, limit.Window{Kind: limit.Spend, Max: int64(nanos), Per: time.Duration(s.Per)})
	}
	for i, w := range limits.Windows {
		switch {
		case w.Max < 1 || w.Kind == limit.Tokens && w.Max > maxTokens:
			return limits, fmt.Errorf("%s: the limit must be above 0, and not above %g", w.Kind, map[limit.Kind]float64{limit.Tokens: maxTokens, limit.Spend: maxSpend}[w.Kind])
		case w.Per < time.Second || w.Per > maxPer:
			return limits, fmt.Errorf("%s: the time must be between 1s and 366d", w.Kind)
		case slices.ContainsFunc(limits.Windows[:i], func(other limit.Window) bool { return other.Kind == w.Kind && other.Per == w.Per }):
			return limits, fmt.Errorf("%s: there are two limits per %s", w.Kind, w.Per)
		}
	}
	return limits, nil
}

// The largest limits. Redis counts in numbers that are exact up to 2^53.
const (
	maxTokens = 1e15
	maxSpend  = 1e6
	maxPer    = 366 * 24 * time.Hour
)

// Cleanup implements caddy.CleanerUpper. Requests that are still running go on counting, without Redis.
func (l *Limit) Cleanup() error {
	if !l.held {
		return nil
	}
	l.held = false
	_, err := counts.Delete(l.Name)
	if l.limiter.Shared != nil {
		err = errors.Join(err, l.limiter.Shared.Close())
	}
	return err
}

// admission is a limit that a request is under, with the key it counts for.
type admission struct {
	limit *Limit
	key   string // empty if a placeholder is
}

type admissionsKey struct{}

// admissions returns the limits that a request is under.
func admissions(ctx context.Context) []admission {
	all, _ := ctx.Value(admissionsKey{}).([]admission)
	return all
}

// ServeHTTP implements caddyhttp.MiddlewareHandler. The llm handler reserves and settles, since it knows what a request is.
func (l *Limit) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	a := admission{limit: l}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		if key, err := repl.ReplaceOrErr(l.Key, true, true); err == nil {
			a.key = key
		}
	}
	all := append(slices.Clip(admissions(r.Context())), a)
	return next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), admissionsKey{}, all)))
}

// reserve takes an estimate out of the limit.
func (a admission) reserve(ctx context.Context, estimate limit.Use) (*limit.Reservation, limit.Status, error) {
	if a.key == "" {
		a.limit.noKey.Do(func() { // strangers must not fill the log
			a.limit.logger.Warn("a request is refused that has no key to be counted under; authentication must come before llm_limit",
				zap.String("key", a.limit.Key))
		})
		return nil, limit.Status{}, &llmgateway.Error{
			Kind: llmgateway.InvalidRequest, Status: http.StatusForbidden, Code: "no_key",
			Message: "this gateway counts what each client uses, and cannot tell whose request this is; authenticate yourself",
		}
	}
	return a.limit.limiter.Reserve(ctx, a.key, estimate)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Limit)(nil)
	_ caddy.CleanerUpper          = (*Limit)(nil)
	_ caddyhttp.MiddlewareHandler = (*Limit)(nil)
)
