package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/route"
)

func init() {
	caddy.RegisterModule(First{})
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

// Interface guards
var (
	_ route.Policy          = (*First)(nil)
	_ caddyfile.Unmarshaler = (*First)(nil)
)
