package caddymodule

import (
	"cmp"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local/memory"
)

// inFlight is how many requests for tokens the process is answering, over all configurations.
var inFlight atomic.Int64

// gatewayStatus is what the admin API says of the whole gateway. Lists are sorted, so that two answers can be compared.
type gatewayStatus struct {
	// InFlight is how many requests are being answered, also those of configurations that went.
	InFlight  int64            `json:"in_flight"`
	Providers []providerStatus `json:"providers"`
	Targets   []targetStatus   `json:"targets"`
	Engines   []engineReport   `json:"engines"`
	Memory    memory.Report    `json:"memory"`
	Caches    []cacheStatus    `json:"caches"`
	Limits    []limitStatus    `json:"limits"`
	Lockouts  []lockoutStatus  `json:"lockouts"`
}

// providerStatus is how a provider of the configuration is.
type providerStatus struct {
	Name string `json:"name"`
	llmgateway.Status
	// Models says how each model of a folder is.
	Models map[string]llmgateway.Status `json:"models,omitempty"`
}

// targetStatus is how a target of a model is.
type targetStatus struct {
	ID            string           `json:"id"`
	Model         string           `json:"model"`
	Provider      string           `json:"provider"`
	UpstreamModel string           `json:"upstream_model,omitempty"`
	State         llmgateway.State `json:"state"`
	// Reason says why it is down, Since since when it is down or drained, and Until when it is tried again.
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	Until  time.Time `json:"until,omitzero"`
	// InFlight is how many requests it is answering, over all models and sites that have it.
	InFlight int `json:"in_flight"`
	// FirstTokenMS is how long the first token of its streams took of late, or 0 if that is not known.
	FirstTokenMS int64 `json:"first_token_ms,omitempty"`
}

// limitStatus is a limit on what clients may use.
type limitStatus struct {
	Name     string       `json:"name"`
	Tokens   []TokenLimit `json:"tokens,omitempty"`
	Spend    []SpendLimit `json:"spend,omitempty"`
	Parallel int          `json:"parallel,omitempty"`
	Shared   bool         `json:"shared,omitempty"`
}

// statusReport returns how the gateway is now. Without a configuration it has engines only, of requests that still run.
func statusReport() gatewayStatus {
	report := gatewayStatus{
		InFlight: inFlight.Load(), Engines: engineReports(), Memory: budget().Report(),
		Providers: []providerStatus{}, Targets: []targetStatus{}, Caches: []cacheStatus{}, Limits: []limitStatus{}, // not null in JSON
		Lockouts: lockoutReports(),
	}
	a := running.current()
	if a == nil {
		return report
	}
	health := a.health()
	for _, name := range slices.Sorted(maps.Keys(health.Providers)) {
		p := health.Providers[name]
		report.Providers = append(report.Providers, providerStatus{name, p.Status, p.Models})
	}
	report.Targets = append(report.Targets, targetReports(a.handlers)...)
	report.Caches = append(report.Caches, cacheReports(a.handlers)...)
	for _, name := range slices.Sorted(maps.Keys(a.limits)) {
		l := a.limits[name]
		report.Limits = append(report.Limits, limitStatus{name, l.Tokens, l.Spend, l.Parallel, l.Redis != ""})
	}
	return report
}

// targetReports returns how the targets of all models are. Handlers may have the same models; of two states the worse is told.
func targetReports(handlers []*Handler) []targetStatus {
	type row struct{ model, id string }
	rows := make(map[row]targetStatus)
	for _, h := range handlers {
		for name, model := range h.Models {
			for i, t := range model.Targets {
				s := h.targetStatus(name, i)
				key := row{name, t.id(h, name)}
				if other, ok := rows[key]; !ok || other.State.Live() {
					rows[key] = s
				}
			}
		}
	}
	return slices.SortedFunc(maps.Values(rows), func(a, b targetStatus) int {
		return cmp.Or(cmp.Compare(a.Model, b.Model), cmp.Compare(a.ID, b.ID))
	})
}

// targetStatus returns how a target of a model is.
func (h *Handler) targetStatus(model string, i int) targetStatus {
	t, target := h.Models[model].Targets[i], h.table.Models[model].Targets[i]
	s := targetStatus{
		ID: t.id(h, model), Model: model, Provider: t.Provider, UpstreamModel: t.Model, State: h.state(model, t),
		InFlight: target.State.InFlight(),
	}
	if first, _ := target.State.Latency(true); first > 0 {
		s.FirstTokenMS = max(first.Milliseconds(), 1)
	}
	if t.off != nil {
		s.Reason = t.off.reason
	}
	if c := target.Condition(); c.Down && s.State.Live() {
		s.State, s.Reason, s.Since, s.Until = llmgateway.StateDown, c.Reason, c.Since, c.Until
	}
	if since := target.Drain.Since(); !since.IsZero() {
		s.State, s.Reason, s.Since, s.Until = llmgateway.StateDrained, "taken out of service by an operator", since, time.Time{}
	}
	return s
}
