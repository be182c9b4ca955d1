package bytebot

import (
	"context"
	"iter"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/toolcall"
)

// exchange is what is done for one request of the agent.
type exchange struct {
	adapter *Adapter
	status  bool // set_task_status is offered
	tools   *toolcall.Tools
	ids     map[string]bool // of the calls in the conversation
	streak  streak
	nudge   string // what is said to a model that repeats itself, or empty
	retries int    // how often the agent has sent the request before, or -1 if unknown
}

// exchange notes what has to be known of a request later. Nothing of the body is kept.
func (a *Adapter) exchange(req *llmgateway.Request, c *conversation) *exchange {
	x := &exchange{adapter: a, status: c.status, tools: a.offered(req), ids: make(map[string]bool), retries: retriesOf(req)}
	for _, m := range c.messages {
		for _, call := range m.calls {
			x.ids[call.id] = true
		}
	}
	if x.status {
		x.streak = c.streak()
		if x.streak.reached(a.config.loopNudge()) {
			x.nudge = x.streak.nudge()
		}
	}
	return x
}

// Answer implements [llmgateway.Exchange].
func (x *exchange) Answer(ctx context.Context, req *llmgateway.Request, ask llmgateway.Generate) iter.Seq2[llmgateway.Event, error] {
	return x.visible(ctx, req, ask)
}

// Attempt implements [llmgateway.Exchange].
func (x *exchange) Attempt(ctx context.Context, _ llmgateway.Destination, req *llmgateway.Request, ask llmgateway.Generate) iter.Seq2[llmgateway.Event, error] {
	return x.mending(ask)(ctx, req)
}

// Identity implements [llmgateway.Exchange].
func (x *exchange) Identity() string { return "bytebot" }

// Interface guards
var _ llmgateway.Exchange = (*exchange)(nil)
