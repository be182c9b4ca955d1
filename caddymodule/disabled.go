package caddymodule

import (
	"context"
	"iter"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// disabled stands in the place of a provider that lacks something that its configuration leaves to the environment. Requests
// go to the next target, and health checks say why.
type disabled struct{ reason string }

// Generate implements llmgateway.Provider.
func (d *disabled) Generate(context.Context, *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		yield(llmgateway.Event{}, &llmgateway.Error{Kind: llmgateway.Overloaded, Message: "disabled: " + d.reason})
	}
}

// Status implements llmgateway.Reporter.
func (d *disabled) Status() llmgateway.Status {
	return llmgateway.Status{State: llmgateway.StateDisabled, Detail: d.reason}
}

// Interface guards
var (
	_ llmgateway.Provider = (*disabled)(nil)
	_ llmgateway.Reporter = (*disabled)(nil)
)
