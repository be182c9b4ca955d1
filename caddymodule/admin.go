package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
)

func init() {
	caddy.RegisterModule(Admin{})
}

// Admin adds routes to Caddy's admin API:
//
// Route | Answer
// ------|-------
// `GET /llm/status` | Everything at a glance: providers, targets, engines, memory, caches, limits, lockouts, requests in flight
// `GET /llm/engines` | The local models: state, memory, process, requests that run and wait, measured speed, last failure
// `GET /llm/memory` | How much memory local models may take, and which of them has how much
// `POST /llm/cache/purge` | Forgets all cached answers, and says how many there were
// `POST /llm/targets/{id}/drain` | Takes a target out of service: it gets no new requests, and finishes those that it has
// `POST /llm/targets/{id}/resume` | Puts it back into service
//
// The ids of targets are in the status. A drained target stays so through reloads, until it is resumed or the process ends.
// The answers hold no secrets, no paths and nothing that clients said.
type Admin struct{}

// CaddyModule returns the Caddy module information.
func (Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.llm",
		New: func() caddy.Module { return new(Admin) },
	}
}

// targetsPath is what the paths of actions on targets begin with.
const targetsPath = "/llm/targets/"

// Routes implements caddy.AdminRouter. The handlers look at what the process has and not at a configuration: after a
// reload that failed, Caddy still asks the modules of the one that did.
func (Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/llm/status", Handler: adminReport(func() any { return statusReport() })},
		{Pattern: "/llm/engines", Handler: adminReport(func() any { return engineReports() })},
		{Pattern: "/llm/memory", Handler: adminReport(func() any { return budget().Report() })},
		{Pattern: "/llm/cache/purge", Handler: adminAction(purge)},
		{Pattern: targetsPath, Handler: adminAction(drainOrResume)},
	}
}

// adminReport answers GET with what report returns.
func adminReport(report func() any) caddy.AdminHandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			return adminMethod(w, "GET, HEAD")
		}
		return writeJSON(w, http.StatusOK, report())
	}
}

// adminAction answers POST with what act returns.
func adminAction(act func(*http.Request) (any, error)) caddy.AdminHandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != http.MethodPost {
			return adminMethod(w, "POST")
		}
		answer, err := act(r)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, answer)
	}
}

func adminMethod(w http.ResponseWriter, allowed string) error {
	w.Header().Set("Allow", allowed)
	return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Message: "this endpoint takes only " + allowed}
}

// purge forgets what the caches hold.
func purge(r *http.Request) (any, error) {
	if r.URL.RawQuery != "" {
		return nil, caddy.APIError{
			HTTPStatus: http.StatusBadRequest,
			Message:    "cached answers can only be purged all together, since they are kept under hashes; leave the query out",
		}
	}
	answers, err := purgeCaches(r.Context(), running.handlers())
	if err != nil {
		status := http.StatusBadGateway
		if errors.Is(err, errNoPurge) {
			status = http.StatusNotFound
		}
		return nil, caddy.APIError{HTTPStatus: status, Err: err, Message: err.Error()}
	}
	slog.New(currentLog{}).Info("cache was purged", "answers", answers)
	return map[string]int{"purged": answers}, nil
}

// drainOrResume takes a target out of service, or puts it back. Its id may hold slashes.
func drainOrResume(r *http.Request) (any, error) {
	path := strings.TrimPrefix(r.URL.Path, targetsPath)
	slash := strings.LastIndexByte(path, '/')
	if slash < 0 || path[slash+1:] != "drain" && path[slash+1:] != "resume" {
		return nil, caddy.APIError{
			HTTPStatus: http.StatusNotFound, Message: "write /llm/targets/{id}/drain or /llm/targets/{id}/resume; the ids are in /llm/status",
		}
	}
	id, action := path[:slash], path[slash+1:]
	targets := slices.DeleteFunc(targetReports(running.handlers()), func(t targetStatus) bool { return t.ID != id })
	drain := drains.find(id)
	// One that has left the configuration while it was drained can be put back.
	if drain == nil || len(targets) == 0 && drain.Since().IsZero() {
		return nil, caddy.APIError{
			HTTPStatus: http.StatusNotFound, Message: fmt.Sprintf("there is no target %q; the ids are in /llm/status", id),
		}
	}
	if action == "drain" {
		drain.Begin()
		slog.New(currentLog{}).Warn("target is drained", "target", id)
	} else {
		drain.End()
		slog.New(currentLog{}).Info("target is back in service", "target", id)
	}
	inFlight := 0
	for _, t := range targets {
		inFlight = max(inFlight, t.InFlight) // models share what is one target
	}
	return drainReport{ID: id, Drained: action == "drain", InFlight: inFlight}, nil
}

// drainReport is what became of a target.
type drainReport struct {
	ID       string `json:"id"`
	Drained  bool   `json:"drained"`
	InFlight int    `json:"in_flight"`
}

// engineReport is what the admin API says of a local model.
type engineReport struct {
	local.Report
	Queue local.QueueReport `json:"queue"`
}

// engineReports returns a report of every engine of the process, by name.
func engineReports() []engineReport {
	reports := make([]engineReport, 0) // not null in JSON
	for _, e := range allEngines() {
		reports = append(reports, engineReport{e.Report(), e.Queue()})
	}
	slices.SortStableFunc(reports, func(a, b engineReport) int { return cmp.Compare(a.Name, b.Name) })
	return reports
}

// allEngines returns the engines of all configurations. They are looked at afterwards: while a pool is ranged over, nobody
// may take anything from it.
func allEngines() []*local.Engine {
	var all []*local.Engine
	engines.Range(func(_, value any) bool {
		if e, ok := value.(*local.Engine); ok {
			all = append(all, e)
		}
		return true
	})
	return all
}

// Interface guards
var _ caddy.AdminRouter = Admin{}
