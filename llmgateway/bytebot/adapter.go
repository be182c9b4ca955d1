// Package bytebot makes the Bytebot agent (https://github.com/bytebot-ai/bytebot) work with any model, unchanged.
//
// The agent is a client with habits of its own: it sends one message for each block of a turn, all screenshots since its last
// summary, and tool arguments in another order than the model wrote them. An [Adapter] mends what it sends and what it gets.
package bytebot

import (
	"context"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Config says what an [Adapter] does. The zero value does everything that has a default.
type Config struct {
	// KeepMessages leaves conversations in the order in which the agent sends them.
	KeepMessages bool
}

// Adapter is an [llmgateway.Adapter] for the agent's requests.
type Adapter struct {
	config Config
}

// New returns an Adapter.
func New(c Config) *Adapter { return &Adapter{config: c} }

// Adapt implements [llmgateway.Adapter]. Only chat completions are changed.
func (a *Adapter) Adapt(_ context.Context, req *llmgateway.Request) (*llmgateway.Request, error) {
	if req.Operation != llmgateway.Chat {
		return req, nil
	}
	c, ok := read(req)
	if !ok {
		return req, nil
	}
	adapted, err := a.repair(req, c)
	if err != nil {
		return nil, err
	}
	next := *adapted
	next.Exchange = &exchange{adapter: a, status: c.status}
	return &next, nil
}

// repair brings a conversation into order.
func (a *Adapter) repair(req *llmgateway.Request, c *conversation) (*llmgateway.Request, error) {
	if a.config.KeepMessages || len(c.messages) == 0 {
		return req, nil
	}
	p := c.arrange(nil)
	if p.asIs() {
		return req, nil
	}
	return rewritten(req, c, p.edits, p.write)
}

// Interface guards
var _ llmgateway.Adapter = (*Adapter)(nil)
