package bytebot

import (
	"context"
	"iter"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// exchange is what is done for one request of the agent.
type exchange struct {
	adapter *Adapter
	status  bool // set_task_status is offered
}

// Answer implements [llmgateway.Exchange].
func (x *exchange) Answer(ctx context.Context, req *llmgateway.Request, ask llmgateway.Generate) iter.Seq2[llmgateway.Event, error] {
	return ask(ctx, req)
}

// Attempt implements [llmgateway.Exchange].
func (x *exchange) Attempt(ctx context.Context, _ llmgateway.Destination, req *llmgateway.Request, ask llmgateway.Generate) iter.Seq2[llmgateway.Event, error] {
	return ask(ctx, req)
}

// Identity implements [llmgateway.Exchange].
func (x *exchange) Identity() string { return "bytebot" }

// Interface guards
var _ llmgateway.Exchange = (*exchange)(nil)
