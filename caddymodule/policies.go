package caddymodule

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/route"
)

func init() {
	caddy.RegisterModule(First{})
	caddy.RegisterModule(Random{})
	caddy.RegisterModule(RoundRobin{})
	caddy.RegisterModule(WeightedRoundRobin{})
	caddy.RegisterModule(LeastConn{})
	caddy.RegisterModule(LeastLatency{})
}

// First takes a model's targets in the order they are written. It is the default.
type First struct{ route.First }

// CaddyModule returns the Caddy module information.
func (First) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.selection_policies.first",
		New: func() caddy.Module { return new(First) },
	}
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. It takes no options.
func (*First) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return unmarshalNothing(d) }

// Random takes any of a model's targets.
type Random struct{ route.Random }

// CaddyModule returns the Caddy module information.
func (Random) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.selection_policies.random",
		New: func() caddy.Module { return new(Random) },
	}
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. It takes no options.
func (*Random) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return unmarshalNothing(d) }

// RoundRobin takes a model's targets one after the other. Each model has its own turns, which begin anew with a reload.
type RoundRobin struct{ route.RoundRobin }

// CaddyModule returns the Caddy module information.
func (RoundRobin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.selection_policies.round_robin",
		New: func() caddy.Module { return new(RoundRobin) },
	}
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. It takes no options.
func (*RoundRobin) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return unmarshalNothing(d) }

// WeightedRoundRobin takes a model's targets in turn, each as often as its weight says.
type WeightedRoundRobin struct {
	// One weight for each target of the model, in order. A target with the weight 0 is only asked if no other is left.
	Weights []int `json:"weights,omitempty"`

	route.Weighted `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (WeightedRoundRobin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.selection_policies.weighted_round_robin",
		New: func() caddy.Module { return new(WeightedRoundRobin) },
	}
}

// Bind implements route.Binder.
func (p *WeightedRoundRobin) Bind(targets []*route.Target) (route.Policy, error) {
	return route.Weighted{Weights: p.Weights}.Bind(targets)
}

// UnmarshalCaddyfile sets up the policy from Caddyfile tokens:
//
//	weighted_round_robin <weights...>
func (p *WeightedRoundRobin) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the policy's name
	for d.NextArg() {
		weight, err := strconv.Atoi(d.Val())
		if err != nil || weight < 0 {
			return d.Errf("weighted_round_robin: %q is not a weight, a number from 0 up", d.Val())
		}
		p.Weights = append(p.Weights, weight)
	}
	if len(p.Weights) == 0 {
		return d.ArgErr()
	}
	if d.NextBlock(d.Nesting()) {
		return d.Err("weighted_round_robin takes no block")
	}
	return nil
}

// LeastConn takes the target that has the fewest requests.
type LeastConn struct{ route.LeastConn }

// CaddyModule returns the Caddy module information.
func (LeastConn) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.selection_policies.least_conn",
		New: func() caddy.Module { return new(LeastConn) },
	}
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. It takes no options.
func (*LeastConn) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return unmarshalNothing(d) }

// LeastLatency takes the target whose first token came soonest of late. About 3 % of the requests go to the target that was
// not heard of for longest, to find out whether it has become faster.
type LeastLatency struct{ route.LeastLatency }

// CaddyModule returns the Caddy module information.
func (LeastLatency) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.selection_policies.least_latency",
		New: func() caddy.Module { return new(LeastLatency) },
	}
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. It takes no options.
func (*LeastLatency) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return unmarshalNothing(d) }

// Interface guards
var (
	_ route.Policy          = (*First)(nil)
	_ route.Policy          = (*Random)(nil)
	_ route.Binder          = (*RoundRobin)(nil)
	_ route.Binder          = (*WeightedRoundRobin)(nil)
	_ route.Watcher         = (*LeastConn)(nil)
	_ route.Watcher         = (*LeastLatency)(nil)
	_ caddyfile.Unmarshaler = (*First)(nil)
	_ caddyfile.Unmarshaler = (*Random)(nil)
	_ caddyfile.Unmarshaler = (*RoundRobin)(nil)
	_ caddyfile.Unmarshaler = (*WeightedRoundRobin)(nil)
	_ caddyfile.Unmarshaler = (*LeastConn)(nil)
	_ caddyfile.Unmarshaler = (*LeastLatency)(nil)
)
