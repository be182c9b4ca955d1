package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
)

func init() {
	caddy.RegisterModule(App{})
}

// App is what the llm handlers of one configuration have in common: it knows them all, for health, and loads the models
// that are to be ready before the first request. It needs no configuration and is there as soon as a handler is.
type App struct {
	handlers []*Handler
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm",
		New: func() caddy.Module { return new(App) },
	}
}

// register adds a handler. Caddy provisions modules one after the other.
func (a *App) register(h *Handler) { a.handlers = append(a.handlers, h) }

// A starter is a provider that has something to do once its configuration is in force.
type starter interface {
	// start begins it and returns at once.
	start()
}

// Start implements caddy.App.
func (a *App) Start() error {
	for _, h := range a.handlers {
		for _, p := range h.providers {
			if p, ok := p.(starter); ok {
				p.start()
			}
		}
	}
	return nil
}

// Stop implements caddy.App. It frees nothing: requests may still run, and engines end with their last user.
func (*App) Stop() error { return nil }

// Interface guards
var _ caddy.App = (*App)(nil)
