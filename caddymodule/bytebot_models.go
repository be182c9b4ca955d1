package caddymodule

import (
	"cmp"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func init() {
	caddy.RegisterModule(BytebotModels{})
	httpcaddyfile.RegisterHandlerDirective("llm_bytebot_models", parseBytebotModels)
	httpcaddyfile.RegisterDirectiveOrder("llm_bytebot_models", httpcaddyfile.Before, "respond")
}

// BytebotModels answers in place of Bytebot's agent what models there are, with their real contexts: the agent takes them all
// for 128000 tokens. Put it in front of the user interface, for the path `/api/tasks/models`. A task keeps what it is told
// here, and summarises at three quarters of it.
//
// It lists the models of all llm handlers with `client bytebot`, or of all handlers if none has it, and asks nobody for
// them: the answer is there while providers are down.
type BytebotModels struct {
	// Under which of its own providers the agent is to ask for the models: `proxy`, or `anthropic` or `openai` where their base
	// URLs lead here. Default: `proxy`.
	Provider string `json:"provider,omitempty"`

	app *App
}

// CaddyModule returns the Caddy module information.
func (BytebotModels) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.llm_bytebot_models",
		New: func() caddy.Module { return new(BytebotModels) },
	}
}

// Provision implements caddy.Provisioner.
func (b *BytebotModels) Provision(ctx caddy.Context) error {
	app, err := ctx.App("llm")
	if err != nil {
		return err
	}
	b.app = app.(*App)
	b.app.tellsWindows = true
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (b *BytebotModels) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		wrongMethod(w, "GET, HEAD")
		return nil
	}
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, http.StatusOK, b.app.bytebotModels(cmp.Or(b.Provider, "proxy")))
}

// bytebotModel is a model as the agent knows it.
type bytebotModel struct {
	Provider      string `json:"provider"`
	Name          string `json:"name"`
	Title         string `json:"title"`
	ContextWindow int    `json:"contextWindow"`
}

// agentWindow is what the agent takes the context of a proxy's model for.
const agentWindow = 128000

// bytebotModels lists the models. The user interface needs their names to be different.
func (a *App) bytebotModels(provider string) []bytebotModel {
	models := []bytebotModel{}
	seen := make(map[string]bool)
	for _, h := range a.bytebotHandlers() {
		for _, o := range h.listing.offers() {
			if !seen[o.name] {
				seen[o.name] = true
				window := cmp.Or(h.table.Models[o.model].Limits(o.name).Context, agentWindow)
				models = append(models, bytebotModel{provider, o.name, o.name, window})
			}
		}
	}
	return models
}

// bytebotHandlers returns the handlers that Bytebot uses.
func (a *App) bytebotHandlers() (handlers []*Handler) {
	for _, h := range a.handlers {
		if _, ok := h.client.(*Bytebot); ok {
			handlers = append(handlers, h)
		}
	}
	if len(handlers) == 0 {
		return a.handlers
	}
	return handlers
}

// toldWindow returns how large the agent takes a model's context for.
func (a *App) toldWindow(model string) int {
	if !a.tellsWindows {
		return agentWindow
	}
	for _, h := range a.bytebotHandlers() {
		if name := h.table.Resolve(&llmgateway.Request{Model: model}); name != "" {
			return cmp.Or(h.table.Models[name].Limits(model).Context, agentWindow)
		}
	}
	return agentWindow
}

func parseBytebotModels(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	models := new(BytebotModels)
	return models, models.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens:
//
//	llm_bytebot_models [<matcher>] {
//		provider proxy|anthropic|openai    # under which of its providers the agent asks for the models; default: proxy
//	}
func (b *BytebotModels) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive's name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(seenWords)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.add(d); err != nil {
			return err
		}
		if word := d.Val(); word != "provider" {
			return d.Errf("unrecognized word %s in llm_bytebot_models; there are: provider", word)
		}
		if err := unmarshalString(d, &b.Provider); err != nil {
			return err
		}
		switch b.Provider {
		case "proxy", "anthropic", "openai":
		default:
			return d.Errf("provider: the agent has no provider %q that leads here; it has proxy, anthropic and openai", b.Provider)
		}
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*BytebotModels)(nil)
	_ caddyhttp.MiddlewareHandler = (*BytebotModels)(nil)
	_ caddyfile.Unmarshaler       = (*BytebotModels)(nil)
)
