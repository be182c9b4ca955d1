package caddymodule

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/route"
)

// Model is something clients may ask for.
type Model struct {
	// Other names for it. A name may end in `*` to stand for all names that begin so.
	Aliases []string `json:"aliases,omitempty"`

	// Who answers, in order of preference.
	Targets []*Target `json:"targets,omitempty"`

	// How a target is chosen, where it differs from the handler's.
	LoadBalancing *LoadBalancing `json:"load_balancing,omitempty"`

	// When a target counts as down, where it differs from the handler's.
	HealthChecks *HealthChecks `json:"health_checks,omitempty"`

	// A model under test that gets copies of some requests. Default: none.
	Mirror *Mirror `json:"mirror,omitempty"`

	// Whether the gateway chooses among the targets. If not, a request must name its provider. Default: true.
	AutoPick *bool `json:"auto_pick,omitempty"`
}

// Target is one model at one provider.
type Target struct {
	// The provider's name.
	Provider string `json:"provider,omitempty"`

	// What the provider calls the model. Placeholders are resolved; if they are empty, the target is disabled. Default: the name
	// the client asked for; a local provider has but one model.
	Model string `json:"model,omitempty"`

	// How many tokens one request may hold, prompt and answer together. A prompt that is certainly longer goes to the next
	// target at once. Default: what a local provider knows; of others, no bound.
	Context int `json:"context,omitempty"`

	// What it can do of all there is: `vision` (images), `audio`, `tools`, `json` (answers by a JSON schema), `embeddings`,
	// `reasoning`, `prefill` (it goes on with an assistant's message at the end, which serves to finish what another target
	// began). A request that needs something else goes to the next target at once; an empty list means text only. Default: what
	// a local provider knows; of others, everything but `prefill` is assumed.
	Capabilities []string `json:"capabilities,omitzero"`

	// Which requests it is for: those of which all these hold. Others go to the next target at once, also if they name its
	// provider. Default: all.
	When []*Condition `json:"when,omitempty"`

	// What its tokens cost. Default: nothing, but what the provider says itself with an answer, as OpenRouter does.
	Price *Price `json:"price,omitempty"`

	// How long it may take to its first token. Default: the handler's.
	FirstTokenTimeout caddy.Duration `json:"first_token_timeout,omitempty"`

	// How long a stream of it may be silent between two events. Default: the handler's.
	StreamIdleTimeout caddy.Duration `json:"stream_idle_timeout,omitempty"`

	// How long one attempt at it may take. Default: no bound but the handler's timeout.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	off *disabled // if there is no model to ask for
}

// Price is what a model's tokens cost, in US dollars for a million of them.
type Price struct {
	// The price of a prompt's tokens.
	Prompt float64 `json:"prompt,omitempty"`

	// The price of an answer's tokens.
	Completion float64 `json:"completion,omitempty"`

	// The price of those tokens of a prompt that the provider's cache held. Default: as for all of the prompt.
	Cached *float64 `json:"cached,omitempty"`
}

// price returns the core's price; that of a nil Price is nothing.
func (p *Price) price() (price llmgateway.Price, err error) {
	if p == nil {
		return price, nil
	}
	price = llmgateway.Price{Prompt: p.Prompt, Completion: p.Completion, Cached: p.Prompt}
	if p.Cached != nil {
		price.Cached = *p.Cached
	}
	if price.Prompt < 0 || price.Completion < 0 || price.Cached < 0 {
		return price, errors.New("a price is negative")
	}
	return price, nil
}

func (t *Target) target(h *Handler) (*route.Target, error) {
	capabilities, err := t.capabilities()
	if err != nil {
		return nil, err
	}
	rules, err := t.rules()
	if err != nil {
		return nil, err
	}
	price, err := t.Price.price()
	if err != nil {
		return nil, err
	}
	provider := h.providers[t.Provider]
	if model := caddy.NewReplacer().ReplaceAll(t.Model, ""); t.Model != "" && strings.TrimSpace(model) == "" {
		t.off = &disabled{"model " + placeholderOnly(t.Model) + " is empty"}
		if status := llmgateway.StatusOf(provider); status.State != llmgateway.StateDisabled { // else that is logged
			h.logger.Warn("target is disabled", zap.String("provider", t.Provider), zap.String("reason", t.off.reason))
		}
		provider = t.off
	} else {
		t.Model = model
	}
	return &route.Target{
		Name:              t.Provider,
		Provider:          provider,
		Model:             t.Model,
		Price:             price,
		Cache:             h.cache,
		FirstTokenTimeout: time.Duration(cmp.Or(t.FirstTokenTimeout, h.FirstTokenTimeout)),
		StreamIdleTimeout: time.Duration(cmp.Or(t.StreamIdleTimeout, h.StreamIdleTimeout)),
		Timeout:           time.Duration(t.Timeout),
		Context:           t.Context,
		Capabilities:      capabilities,
		TakesModels:       takesModels(provider),
		When:              rules,
	}, nil
}

// capabilities returns what is configured, or nil.
func (t *Target) capabilities() (*llmgateway.Capabilities, error) {
	if t.Capabilities == nil {
		return nil, nil
	}
	set, err := llmgateway.ParseCapabilities(t.Capabilities)
	return &set, err
}

// LoadBalancing says how a target is chosen and how often the next one is tried.
type LoadBalancing struct {
	// The policy. Default: `first`, the order in the configuration.
	SelectionPolicyRaw json.RawMessage `json:"selection_policy,omitempty" caddy:"namespace=llm.selection_policies inline_key=policy"`

	// How many attempts may follow the first. Default: one for each further target.
	Retries *int `json:"retries,omitempty"`

	// How long after a request's arrival a new attempt may begin. Default: no bound.
	TryDuration caddy.Duration `json:"try_duration,omitempty"`

	// The longest pause before a target is asked again; it doubles each time, up to 10s. How long the pause really is, is left
	// to chance, unless the provider says it (Retry-After up to 10s). Default: 250ms. Another target is asked at once.
	TryInterval caddy.Duration `json:"try_interval,omitempty"`

	// How long the first target may be silent until the second one is asked as well: who begins first answers, and the other is
	// given up. -1 means longer than 19 of 20 of its answers took to their first token, of the last hundred, once there were 20.
	// It counts as a try. Default: the second one is asked when the first has failed.
	HedgeAfter caddy.Duration `json:"hedge_after,omitempty"`

	// The percentage of requests for which a second target may be asked so. Default: 10.
	HedgeBudget float64 `json:"hedge_budget,omitempty"`

	policy route.Policy
}

// provision loads the policy. A nil LoadBalancing has none.
func (lb *LoadBalancing) provision(ctx caddy.Context) error {
	if lb == nil {
		return nil
	}
	if lb.HedgeBudget < 0 || lb.HedgeBudget > 100 {
		return errors.New("hedge_budget: write a percentage above 0, up to 100")
	}
	if lb.SelectionPolicyRaw == nil {
		return nil
	}
	guest, err := ctx.LoadModule(lb, "SelectionPolicyRaw")
	if err != nil {
		return fmt.Errorf("loading selection policy: %w", err)
	}
	policy, ok := guest.(route.Policy)
	if !ok {
		return fmt.Errorf("selection policy: module %T is not a policy", guest)
	}
	lb.policy = policy
	return nil
}

// over returns lb with what it leaves out taken from base. Both may be nil.
func (lb *LoadBalancing) over(base *LoadBalancing) *LoadBalancing {
	var merged LoadBalancing
	for _, from := range []*LoadBalancing{base, lb} {
		if from == nil {
			continue
		}
		if from.policy != nil {
			merged.policy = from.policy
		}
		if from.Retries != nil {
			merged.Retries = from.Retries
		}
		merged.TryDuration = cmp.Or(from.TryDuration, merged.TryDuration)
		merged.TryInterval = cmp.Or(from.TryInterval, merged.TryInterval)
		merged.HedgeAfter = cmp.Or(from.HedgeAfter, merged.HedgeAfter)
		merged.HedgeBudget = cmp.Or(from.HedgeBudget, merged.HedgeBudget)
	}
	return &merged
}

const (
	defaultTryInterval = 250 * time.Millisecond
	defaultHedgeBudget = 10
)

// hedge returns when to ask a second target, or nil for never.
func (lb *LoadBalancing) hedge() *route.Hedge {
	if lb.HedgeAfter == 0 {
		return nil
	}
	return &route.Hedge{After: max(time.Duration(lb.HedgeAfter), 0), Share: cmp.Or(lb.HedgeBudget, defaultHedgeBudget) / 100}
}

func (lb *LoadBalancing) router() *route.Router {
	retries := -1
	if lb.Retries != nil {
		retries = *lb.Retries
	}
	return &route.Router{
		Policy:      lb.policy,
		Retries:     retries,
		TryDuration: time.Duration(lb.TryDuration),
		TryInterval: cmp.Or(time.Duration(lb.TryInterval), defaultTryInterval),
		Hedge:       lb.hedge(),
	}
}
