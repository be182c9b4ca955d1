// Package bytebot makes the Bytebot agent (https://github.com/bytebot-ai/bytebot) work with any model, unchanged.
//
// The agent is a client with habits of its own: it sends one message for each block of a turn, all screenshots since its last
// summary, and tool arguments in another order than the model wrote them. An [Adapter] mends what it sends and what it gets.
package bytebot

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Adapter is an [llmgateway.Adapter] for the agent's requests.
type Adapter struct {
	config   Config
	identity string
	tools    atomic.Pointer[lastTools]
}

// New returns an Adapter.
func New(c Config) *Adapter {
	c.Options = c.Options.over(Options{KeepImages: defaultKeepImages, MaxImages: defaultMaxImages})
	if c.Window == nil {
		c.Window = func(string) int { return defaultWindow }
	}
	return &Adapter{config: c, identity: c.identity()}
}

// Adapt implements [llmgateway.Adapter]. Only chat completions are changed.
func (a *Adapter) Adapt(_ context.Context, req *llmgateway.Request) (*llmgateway.Request, error) {
	if req.Operation != llmgateway.Chat {
		return req, nil
	}
	c, ok := read(req)
	if !ok || len(c.messages) == 0 {
		return req, nil
	}
	x := a.exchange(req, c)
	adapted, err := a.mend(req, c, x)
	if err != nil {
		return nil, err
	}
	next := *adapted
	next.Exchange = x
	return &next, nil
}

// mend does what is done once for a request, whoever answers it.
func (a *Adapter) mend(req *llmgateway.Request, c *conversation, x *exchange) (*llmgateway.Request, error) {
	var e edits
	if !a.config.KeepArguments {
		e = a.config.Memory.restore(req.Tenant, c)
	}
	runs := c.runs()
	if a.config.KeepEqualImages {
		runs = c.eachAlone()
	}
	x.left = a.outdatedEverywhere(len(runs))
	e = append(e, c.thin(runs, x.left)...)
	if a.config.KeepMessages {
		if x.nudge != "" {
			req = appended(req, `{"role":"user","content":`+quote(x.nudge)+`}`)
		}
		if len(e) == 0 {
			return req, nil
		}
		return rewritten(req, c, e, func(w *writer) { w.copy(c.list) })
	}
	p := c.arrange(a.config.Memory.turnOf(req.Tenant))
	p.edits = append(p.edits, e...)
	p.nudge(x.nudge)
	if p.asIs() {
		return req, nil
	}
	return rewritten(req, c, p.edits, p.write)
}

// outdatedEverywhere returns how many of n images no target gets.
func (a *Adapter) outdatedEverywhere(n int) int {
	out := outdated(n, a.config.Options.KeepImages, a.config.Options.MaxImages)
	for name := range a.config.Targets {
		provider, model, _ := strings.Cut(name, "/")
		o := a.options(target{provider: provider, model: model})
		out = min(out, outdated(n, o.KeepImages, o.MaxImages))
	}
	return out
}

// Interface guards
var _ llmgateway.Adapter = (*Adapter)(nil)
