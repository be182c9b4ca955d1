package caddymodule

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
)

func init() {
	caddy.RegisterModule(Admin{})
}

// Admin adds routes to Caddy's admin API, all of them to look only:
//
// Route | Answer
// ------|-------
// `GET /llm/engines` | The local models: state, memory, process, requests that run and wait, measured speed, last failure
// `GET /llm/memory` | How much memory local models may take, and which of them has how much
//
// The answers hold no secrets, no paths and nothing that clients said.
type Admin struct{}

// CaddyModule returns the Caddy module information.
func (Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.llm",
		New: func() caddy.Module { return new(Admin) },
	}
}

// Routes implements caddy.AdminRouter. The handlers look at what the process has and not at a configuration: after a
// reload that failed, Caddy still asks the modules of the one that did.
func (Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/llm/engines", Handler: adminReport(func() any { return engineReports() })},
		{Pattern: "/llm/memory", Handler: adminReport(func() any { return budget().Report() })},
	}
}

// adminReport answers GET with what report returns.
func adminReport(report func() any) caddy.AdminHandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Message: "this endpoint takes only GET and HEAD"}
		}
		return writeJSON(w, http.StatusOK, report())
	}
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
