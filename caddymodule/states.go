package caddymodule

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/route"
)

// states holds what is known of the targets of all running configurations, so that a reload does not forget who is down.
var states = caddy.NewUsagePool()

// stateKey says which targets are one in truth: the same model, at the same provider, for the same account.
type stateKey struct{ provider, account, model string }

// sharedState makes a route.State something to share.
type sharedState struct{ route.State }

// Destruct implements caddy.Destructor. Requests that are still running keep the state; there is nothing to free.
func (*sharedState) Destruct() error { return nil }

// heldStates are the states that a handler holds.
type heldStates []stateKey

// hold takes hold of a target's state.
func (h *heldStates) hold(key stateKey) (*route.State, error) {
	value, _, err := states.LoadOrNew(key, func() (caddy.Destructor, error) { return new(sharedState), nil })
	if err != nil {
		return nil, err
	}
	*h = append(*h, key)
	return &value.(*sharedState).State, nil
}

// release lets go of exactly what was taken hold of. It may be called more than once.
func (h *heldStates) release() {
	for _, key := range *h {
		_, _ = states.Delete(key) // which has nothing to fail with
	}
	*h = nil
}

// stateKey returns the key of a target of the model with the given name.
func (t *Target) stateKey(h *Handler, name string) stateKey {
	p := h.providers[t.Provider]
	key := stateKey{provider: "named " + t.Provider, model: t.Model}
	if _, one := p.(llmgateway.Modeler); !one && t.Model == "" {
		key.model = name
	}
	switch p := p.(type) {
	case *llamaFolder:
		key.provider = fmt.Sprintf("folder %p", p.Folder) // it outlives reloads, too
	case llmgateway.Identifier:
		key.provider = p.Identity()
	}
	if p, ok := p.(interface{ account() string }); ok {
		key.account = p.account()
	}
	return key
}

// account tells the accounts at a provider apart without telling their keys.
func (p *OpenAI) account() string {
	hash := sha256.New()
	for _, field := range slices.Sorted(maps.Keys(p.client.Header)) {
		fmt.Fprintf(hash, "%q %q\n", field, strings.Join(p.client.Header[field], "\n"))
	}
	return hex.EncodeToString(hash.Sum(nil)[:8])
}

// watch gives the targets of a model what operators, the policy and the health checks need: a way to take them out of
// service, a state, and a breaker.
func (h *Handler) watch(name string, model *Model, router *route.Router) error {
	checks := model.HealthChecks.over(h.HealthChecks)
	if err := checks.validate(); err != nil {
		return err
	}
	breaker := checks.breaker(name)
	for i, t := range model.Targets {
		router.Targets[i].Drain = drains.of(t.id(h, name))
		p := h.providers[t.Provider]
		if p == nil || t.off != nil {
			continue
		}
		state, err := h.states.hold(t.stateKey(h, name))
		if err != nil {
			return err
		}
		router.Targets[i].State = state
		if breaker == nil {
			continue
		}
		// A name that stands for all models of a folder is many targets: of one that fails the others know nothing.
		if _, many := p.(llmgateway.Catalog); many && t.Model == "" && strings.HasSuffix(name, "*") {
			continue
		}
		router.Targets[i].Breaker = breaker
		h.checks.add(p, router.Targets[i], checks)
	}
	if b, ok := router.Policy.(route.Binder); ok {
		bound, err := b.Bind(router.Targets)
		if err != nil {
			return fmt.Errorf("lb_policy: %w", err)
		}
		router.Policy = bound
	}
	return nil
}
