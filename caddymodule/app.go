package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

func init() {
	caddy.RegisterModule(App{})
	httpcaddyfile.RegisterGlobalOption("llm", parseApp)
}

// App is what the llm handlers of one configuration have in common: it knows them all, for health, loads the models
// that are to be ready before the first request, and says how much memory local models may take. It is there as soon as a
// handler is, configured or not.
type App struct {
	// How much memory local models may take together, in bytes, as estimated from their files. Those that fit stay loaded.
	// When another is needed, the ones that were not used for longest are unloaded, and busy ones finish their answers
	// first. Default: what the machine or its container has, less an eighth of it and at least 1 GiB, and what its GPUs
	// have in addition.
	MaxMemory int64 `json:"max_memory,omitempty"`

	handlers []*Handler
	limits   map[string]*Limit // by their names
	withdraw func()            // what Start did for all to see; nil before it
	emit     func(event string, data map[string]any)
	// tellsWindows is true if Bytebot is told the real contexts of models.
	tellsWindows bool
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

// registerLimit adds a limit. Those that count together must be the same limit, or they would be counted against each
// other's use by accident.
func (a *App) registerLimit(l *Limit) error {
	other, ok := a.limits[l.Name]
	if !ok {
		if a.limits == nil {
			a.limits = make(map[string]*Limit)
		}
		a.limits[l.Name] = l
		return nil
	}
	if l.Key != other.Key || l.Parallel != other.Parallel || l.Redis != other.Redis || !slices.Equal(l.Tokens, other.Tokens) || !slices.Equal(l.Spend, other.Spend) {
		return fmt.Errorf("llm_limit: two different limits would count together as %q; give one of them a name of its own with `name`", l.Name)
	}
	return nil
}

// Provision implements caddy.Provisioner.
func (a *App) Provision(ctx caddy.Context) error {
	events, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("getting the app for events: %w", err)
	}
	a.emit = func(event string, data map[string]any) { events.(*caddyevents.App).Emit(ctx, event, data) }
	return registerMetrics(ctx, slices.Concat(requestCollectors, []prometheus.Collector{engineCollector{}, gatewayCollector{}, targetCollector{}, lockoutsTotal, lockoutRefusalsTotal})...)
}

// Validate implements caddy.Validator.
func (a *App) Validate() error {
	if a.MaxMemory < 0 {
		return errors.New("max_memory is negative")
	}
	return nil
}

// A starter is a provider or a cache that has something to do once its configuration is in force.
type starter interface {
	// start begins it and returns at once.
	start()
}

// Start implements caddy.App. Providers start in the order of their names: it decides which models are preloaded if there
// is not enough memory for all.
func (a *App) Start() error {
	unlimit, remove := budget().Limit(uint64(max(a.MaxMemory, 0))), running.add(a)
	a.withdraw = func() { unlimit(); remove() }
	for _, h := range a.handlers {
		h.checks.start()
		if c, ok := h.store.(starter); ok {
			c.start()
		}
		for _, name := range slices.Sorted(maps.Keys(h.providers)) {
			if p, ok := h.providers[name].(starter); ok {
				p.start()
			}
		}
	}
	return nil
}

// Stop implements caddy.App. It frees nothing: requests may still run, and engines end with their last user.
func (*App) Stop() error { return nil }

// Cleanup implements caddy.CleanerUpper. From now on the next configuration is the one in force or, if this one failed to
// start, still the one before it.
func (a *App) Cleanup() error {
	if a.withdraw != nil {
		a.withdraw()
		a.withdraw = nil
	}
	return nil
}

// parseApp parses the global option llm.
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		d.Next() // consume the option's name, so that the error knows its place
		return nil, d.Err("the global option llm is already set")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "llm", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile sets up the app from the tokens of Caddy's global option:
//
//	llm {
//		max_memory <size>    # of all local models together; default: the machine's, less an eighth and at least 1 GiB, and its GPUs'
//	}
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the option's name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(seenWords)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.add(d); err != nil {
			return err
		}
		switch word := d.Val(); word {
		case "max_memory":
			if err := unmarshalSize(d, &a.MaxMemory); err != nil {
				return err
			}
			if a.MaxMemory == 0 {
				return d.Err("max_memory: 0 leaves no room for any model; leave the word out for the default")
			}
		default:
			return d.Errf("unrecognized word %s in the global option llm; there are: max_memory", word)
		}
	}
	return nil
}

// Interface guards
var (
	_ caddy.App             = (*App)(nil)
	_ caddy.Provisioner     = (*App)(nil)
	_ caddy.Validator       = (*App)(nil)
	_ caddy.CleanerUpper    = (*App)(nil)
	_ caddyfile.Unmarshaler = (*App)(nil)
)
