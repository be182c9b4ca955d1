package caddymodule

import (
	"cmp"
	"sync"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/route"
)

// drains knows which targets operators have taken out of service, by their ids. It outlives configurations: a target stays
// out of service until somebody puts it back, also if it is away from the configuration in between. It has one entry for each
// id that was ever configured.
var drains drained

type drained struct {
	mu   sync.Mutex // guards byID
	byID map[string]*route.Drain
}

// of returns what takes the targets with an id out of service.
func (d *drained) of(id string) *route.Drain {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.byID == nil {
		d.byID = make(map[string]*route.Drain)
	}
	if d.byID[id] == nil {
		d.byID[id] = new(route.Drain)
	}
	return d.byID[id]
}

// find returns what takes the targets with an id out of service, or nil if there have never been any.
func (d *drained) find(id string) *route.Drain {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.byID[id]
}

// id names the target of a model for operators: the provider that it is asked of, and what the provider calls it, unless the
// provider has just one model. Targets of several models and sites that are asked for the same have the same.
func (t *Target) id(h *Handler, model string) string {
	if _, one := h.providers[t.Provider].(llmgateway.Modeler); one && t.Model == "" {
		return t.Provider
	}
	return t.Provider + "/" + cmp.Or(t.Model, model)
}
