package caddymodule

import (
	"cmp"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func init() {
	caddy.RegisterModule(Health{})
	httpcaddyfile.RegisterHandlerDirective("llm_health", parseHealth)
	httpcaddyfile.RegisterDirectiveOrder("llm_health", httpcaddyfile.Before, "respond")
}

// Health answers health checks for all llm handlers of the configuration: 200 while at least one model has a target that
// could answer, else 503. A model that is not loaded yet, or is loading, could. Paths that end in /liveliness or
// /liveness are always 200: they say that the process runs.
//
// The body names the state of every provider and model. It holds no secrets and no addresses.
type Health struct {
	app *App
}

// CaddyModule returns the Caddy module information.
func (Health) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.llm_health",
		New: func() caddy.Module { return new(Health) },
	}
}

// Provision implements caddy.Provisioner.
func (h *Health) Provision(ctx caddy.Context) error {
	app, err := ctx.App("llm")
	if err != nil {
		return err
	}
	h.app = app.(*App)
	return nil
}

// healthReport is the body of a health check.
type healthReport struct {
	Status    string                    `json:"status"`
	Models    map[string]modelHealth    `json:"models"`
	Providers map[string]providerHealth `json:"providers"`
}

type providerHealth struct {
	llmgateway.Status

	// Models says how each model of a folder is, and why files in it are not offered.
	Models map[string]llmgateway.Status `json:"models,omitempty"`
}

type modelHealth struct {
	Live    bool           `json:"live"`
	Targets []targetHealth `json:"targets"`
}

type targetHealth struct {
	Provider string           `json:"provider"`
	Model    string           `json:"model,omitempty"`
	State    llmgateway.State `json:"state"`

	// Reason says why a target is down, drained or disabled, and Until when one that is down is tried again.
	Reason string    `json:"reason,omitempty"`
	Until  time.Time `json:"until,omitzero"`
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Health) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		wrongMethod(w, "GET, HEAD")
		return nil
	}
	w.Header().Set("Cache-Control", "no-store")
	// As Caddy's matchers read it: they let strangers through to this path and not to others.
	path := strings.ToLower(caddyhttp.CleanPath(r.URL.Path, true))
	path = strings.TrimSuffix(path, "/")
	if strings.HasSuffix(path, "/liveliness") || strings.HasSuffix(path, "/liveness") {
		return writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
	}
	report := h.app.health()
	status := http.StatusServiceUnavailable
	if report.Status == "ok" {
		status = http.StatusOK
	}
	return writeJSON(w, status, report)
}

// health asks all providers how they are. Handlers may use the same names; of two states the worse is shown.
func (a *App) health() healthReport {
	report := healthReport{
		Status: "unavailable", Models: make(map[string]modelHealth), Providers: make(map[string]providerHealth),
	}
	for _, handler := range a.handlers {
		for name, p := range handler.providers {
			if other, ok := report.Providers[name]; ok && !other.State.Live() {
				continue
			}
			health := providerHealth{Status: llmgateway.StatusOf(p)}
			if folder, ok := p.(interface {
				States() map[string]llmgateway.Status
			}); ok {
				health.Models = folder.States()
			}
			report.Providers[name] = health
		}
		for name, model := range handler.Models {
			var health modelHealth
			for i := range model.Targets {
				s := handler.targetStatus(name, i)
				health.Live = health.Live || s.State.Live()
				health.Targets = append(health.Targets, targetHealth{s.Provider, s.UpstreamModel, s.State, s.Reason, s.Until})
			}
			if health.Live {
				report.Status = "ok"
			}
			if other, ok := report.Models[name]; !ok || other.Live {
				report.Models[name] = health
			}
		}
	}
	return report
}

// state returns how a model's target is. A name that stands for many is as good as the best of a folder's models.
func (h *Handler) state(model string, t *Target) llmgateway.State {
	if t.off != nil {
		return llmgateway.StateDisabled
	}
	p := h.providers[t.Provider]
	if asked := cmp.Or(t.Model, model); !strings.HasSuffix(asked, "*") {
		p = llmgateway.ProviderOf(p, asked)
	}
	if p == nil {
		return llmgateway.StateFailed
	}
	return llmgateway.StatusOf(p).State
}

// parseHealth sets up the handler from Caddyfile tokens:
//
//	llm_health [<matcher>]
func parseHealth(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	health := new(Health)
	return health, health.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. The directive takes no arguments.
func (*Health) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return unmarshalNothing(d) }

// Interface guards
var (
	_ caddy.Provisioner           = (*Health)(nil)
	_ caddyhttp.MiddlewareHandler = (*Health)(nil)
	_ caddyfile.Unmarshaler       = (*Health)(nil)
)
