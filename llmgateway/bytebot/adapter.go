// Package bytebot makes the Bytebot agent (https://github.com/bytebot-ai/bytebot) work with any model, unchanged.
//
// The agent is a client with habits of its own: it sends one message for each block of a turn, all screenshots since its last
// summary, and tool arguments in another order than the model wrote them. An [Adapter] mends what it sends and what it gets.
package bytebot

import (
	"cmp"
	"context"
	"sync/atomic"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Config says what an [Adapter] does. The zero value does everything that has a default.
type Config struct {
	// KeepMessages leaves conversations in the order in which the agent sends them.
	KeepMessages bool

	// KeepCalls leaves tool calls as models make them.
	KeepCalls bool

	// ShowErrors passes errors on to the agent, which gives the task up. Otherwise they become a request for help.
	ShowErrors bool

	// LoopNudge is how often a model may do the same before it is told to do something else, and LoopHelp how often before the
	// user is asked for help. 0 is the default, 3 and 6; less is never.
	LoopNudge, LoopHelp int
}

func (c *Config) loopNudge() int { return cmp.Or(c.LoopNudge, 3) }

func (c *Config) loopHelp() int { return cmp.Or(c.LoopHelp, 6) }

// Adapter is an [llmgateway.Adapter] for the agent's requests.
type Adapter struct {
	config Config
	tools  atomic.Pointer[lastTools]
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
	x := a.exchange(req, c)
	adapted, err := a.repair(req, c, x)
	if err != nil {
		return nil, err
	}
	next := *adapted
	next.Exchange = x
	return &next, nil
}

// repair brings a conversation into order.
func (a *Adapter) repair(req *llmgateway.Request, c *conversation, x *exchange) (*llmgateway.Request, error) {
	switch {
	case len(c.messages) == 0:
		return req, nil
	case a.config.KeepMessages && x.nudge != "":
		return appended(req, `{"role":"user","content":`+quote(x.nudge)+`}`), nil
	case a.config.KeepMessages:
		return req, nil
	}
	p := c.arrange(nil)
	p.nudge(x.nudge)
	if p.asIs() {
		return req, nil
	}
	return rewritten(req, c, p.edits, p.write)
}

// Interface guards
var _ llmgateway.Adapter = (*Adapter)(nil)
