// Package caddymodule makes Caddy modules of the gateway: configuration in, core out, and no logic of its own.
package caddymodule

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/cache"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/route"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler answers OpenAI's API: chat completions, completions, embeddings and responses, and Anthropic's: messages. The answers
// come from local models and remote providers, by priority and with fallback. Requests for other paths go to the next handler.
//
// It sets these placeholders. They are meant for logs and are known when the request has ended:
//
// Placeholder | Description
// ------------|-------------
// `{http.llm.model}` | The configured name of the model that was asked for
// `{http.llm.provider}` | The provider that answered
// `{http.llm.upstream_model}` | What that provider calls the model
// `{http.llm.retries}` | The number of attempts that failed before
// `{http.llm.status}` | How it ended, as an HTTP status, also where it ended after 200 had been sent: 499 if the client left
// `{http.llm.cache}` | Where the answer came from: `hit`, `shared` with an equal request, `miss`, or `bypass` without the cache
// `{http.llm.resumed_by}` | Who finished an answer that broke, as provider/model
// `{http.llm.finish_reason}` | Why the answer ended
// `{http.llm.usage.prompt_tokens}` | The tokens of the prompt, if the provider counted them
// `{http.llm.usage.completion_tokens}` | The tokens of the answer, if the provider counted them
// `{http.llm.usage.total_tokens}` | Both together
// `{http.llm.usage.cached_tokens}` | The tokens of the prompt that the provider's cache held
// `{http.llm.usage.reasoning_tokens}` | The tokens of the answer that were thought and not said
// `{http.llm.usage.counted_tokens}` | The tokens that count for limits: of every attempt that a provider has worked for, estimated where it did not say
// `{http.llm.cost}` | What all of these cost, in US dollars: as the provider says, or by the target's price
// `{http.llm.first_token_ms}` | The time to the first event that carries something, in milliseconds
// `{http.llm.duration_ms}` | The time to the end of the answer, in milliseconds
type Handler struct {
	// Where answers come from, by names of your choice.
	ProvidersRaw map[string]json.RawMessage `json:"providers,omitempty" caddy:"namespace=llm.providers inline_key=type"`

	// What clients may ask for, by name. The name `*` stands for all names that nothing else matches.
	Models map[string]*Model `json:"models,omitempty"`

	// How a target is chosen and how often the next one is tried. Models may have their own.
	LoadBalancing *LoadBalancing `json:"load_balancing,omitempty"`

	// When a target counts as down, and is asked last. Models may have their own.
	HealthChecks *HealthChecks `json:"health_checks,omitempty"`

	// How long a target may take to its first token before the next target is asked. Default: no bound. Targets may have
	// their own. A target that has it is asked to stream even if the client does not.
	FirstTokenTimeout caddy.Duration `json:"first_token_timeout,omitempty"`

	// How long a stream may be silent between two events. Default: no bound. Targets may have their own.
	StreamIdleTimeout caddy.Duration `json:"stream_idle_timeout,omitempty"`

	// How long a whole generation may take, over all tries. Default: no bound.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// How often the client of a stream is told that it has not been forgotten while it waits for the first event, by comments
	// that clients skip. The first one comes after 5 seconds, or after the interval if that is shorter. It sends the status
	// 200 ahead: an error after it is an event in the stream, and who answers is told in a comment instead of the header. -1
	// switches them off. Default: 15s.
	PingInterval caddy.Duration `json:"ping_interval,omitempty"`

	// Answers requests with what was answered to equal ones before, and lets equal requests that are under way share one
	// generation. Clients with different `{http.auth.user.id}` never share answers. Default: none.
	CacheRaw json.RawMessage `json:"cache,omitempty" caddy:"namespace=llm.caches inline_key=type"`

	// Makes one kind of client work with any model, such as `bytebot`: changes its requests, and what is answered. Default: none.
	ClientRaw json.RawMessage `json:"client,omitempty" caddy:"namespace=llm.clients inline_key=type"`

	// Let the next target finish a stream that breaks after its first token. It is asked for the same from the start, and what the
	// client has is left out; if it says something else, it is asked to go on, if it can (`prefill`). Otherwise, and if a tool
	// call is cut, the stream ends with an error. Default: off, so that it ends with an error always.
	Resume bool `json:"resume,omitempty"`

	providers   map[string]llmgateway.Provider
	store       answerCache
	cache       *cache.Cache       // nil for none
	client      llmgateway.Adapter // nil for none
	table       *route.Table
	mirrors     []*route.Mirror
	ruleHeaders []string // that some target's conditions or the client's adapter look at
	states      heldStates
	checks      *checker
	listing     *listing
	app         *App
	logger      *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.llm",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision implements caddy.Provisioner. It does no work but to put things together: models are loaded and providers
// called when requests come, or when Caddy has started.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger, h.checks = ctx.Logger(), new(checker)
	guests, err := ctx.LoadModule(h, "ProvidersRaw")
	if err != nil {
		return fmt.Errorf("loading providers: %w", err)
	}
	h.providers = make(map[string]llmgateway.Provider, len(h.ProvidersRaw))
	for name, guest := range guests.(map[string]any) {
		p, ok := guest.(llmgateway.Provider)
		if !ok {
			return fmt.Errorf("provider %s: module %T is not a provider", name, guest)
		}
		if several, ok := guest.(interface{ catalog() llmgateway.Catalog }); ok && several.catalog() != nil {
			p = several.catalog()
		}
		if off, ok := guest.(interface{ switchedOff() *disabled }); ok && off.switchedOff() != nil {
			p = off.switchedOff()
		}
		h.providers[name] = p
		if status := llmgateway.StatusOf(p); status.State == llmgateway.StateDisabled {
			h.logger.Warn("provider is disabled", zap.String("provider", name), zap.String("reason", status.Detail))
		}
	}
	if err := h.provisionCache(ctx); err != nil {
		return err
	}
	if err := h.provisionClient(ctx); err != nil {
		return err
	}
	if err := h.LoadBalancing.provision(ctx); err != nil {
		return err
	}
	if err := h.buildTable(ctx); err != nil {
		return err
	}
	h.listing = newListing(h)
	app, err := ctx.App("llm")
	if err != nil {
		return err
	}
	h.app = app.(*App)
	h.app.register(h)
	return nil
}

// provisionCache loads the cache, if one is configured.
func (h *Handler) provisionCache(ctx caddy.Context) error {
	if h.CacheRaw == nil {
		return nil
	}
	guest, err := ctx.LoadModule(h, "CacheRaw")
	if err != nil {
		return fmt.Errorf("loading cache: %w", err)
	}
	store, ok := guest.(answerCache)
	if !ok {
		return fmt.Errorf("cache: module %T is not a cache", guest)
	}
	h.store, h.cache = store, &cache.Cache{Store: store, Policy: store.Policy()}
	return nil
}

// buildTable makes the core's table of the configured models.
func (h *Handler) buildTable(ctx caddy.Context) error {
	h.table = &route.Table{
		Models:    make(map[string]*route.Router, len(h.Models)),
		Aliases:   make(map[string]string),
		Providers: slices.Sorted(maps.Keys(h.providers)),
	}
	for name, model := range h.Models {
		if model == nil {
			return fmt.Errorf("model %s: no targets", name)
		}
		if err := model.LoadBalancing.provision(ctx); err != nil {
			return fmt.Errorf("model %s: %w", name, err)
		}
		router := model.LoadBalancing.over(h.LoadBalancing).router()
		router.Timeout, router.Resume = time.Duration(h.Timeout), h.Resume
		router.Named = model.AutoPick != nil && !*model.AutoPick
		for i, t := range model.Targets {
			if t == nil {
				return fmt.Errorf("model %s: target %d is empty", name, i+1)
			}
			target, err := t.target(h)
			if err != nil {
				return fmt.Errorf("model %s: target %q: %w", name, t.Provider, err)
			}
			router.Targets = append(router.Targets, target)
		}
		if err := h.watch(name, model, router); err != nil {
			return fmt.Errorf("model %s: %w", name, err)
		}
		if model.Mirror != nil {
			mirror, err := model.Mirror.provision(ctx, h, name)
			if err != nil {
				return fmt.Errorf("model %s: mirror %q: %w", name, model.Mirror.Provider, err)
			}
			router.Mirror = mirror
			h.mirrors = append(h.mirrors, mirror)
		}
		h.table.Models[name] = router
		for _, alias := range model.Aliases {
			h.table.Aliases[alias] = name
		}
	}
	h.ruleHeaders = h.headers()
	return nil
}

// Validate implements caddy.Validator.
func (h *Handler) Validate() error {
	if len(h.Models) == 0 {
		return fmt.Errorf("no model is configured: say what clients may ask for with `model <name> { to <provider> }`")
	}
	seen := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(h.Models)) {
		for _, known := range append([]string{name}, h.Models[name].Aliases...) {
			if i := strings.IndexByte(known, '*'); i >= 0 && i < len(known)-1 {
				return fmt.Errorf("model %s: in the name %s the * must be the last character", name, known)
			}
			if other, ok := seen[known]; ok {
				return fmt.Errorf("model %s: the name %s is already taken by model %s", name, known, other)
			}
			seen[known] = name
		}
		if len(h.Models[name].Targets) == 0 {
			return fmt.Errorf("model %s: no targets", name)
		}
		for _, t := range h.Models[name].Targets {
			if _, ok := h.providers[t.Provider]; !ok {
				return fmt.Errorf("model %s: target %q: no such provider; there are: %v", name, t.Provider, h.table.Providers)
			}
		}
	}
	return nil
}

// Cleanup implements caddy.CleanerUpper.
func (h *Handler) Cleanup() error {
	if h.checks != nil {
		h.checks.stop()
	}
	h.states.release()
	for _, mirror := range h.mirrors {
		mirror.Close()
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
