package caddymodule

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/route"
)

// A checkable provider can be asked whether it is there without generating anything.
type checkable interface {
	llmgateway.Provider
	// Check returns why requests would fail, or nil. The message may be shown to clients.
	Check(ctx context.Context) *llmgateway.Error
}

// Check implements checkable.
func (p *OpenAI) Check(ctx context.Context) *llmgateway.Error { return p.client.Check(ctx) }

// A remoteProvider is a provider that is reached over the network.
type remoteProvider interface {
	llmgateway.Provider
	// remote returns what reaches it.
	remote() *openai.Client
}

func (p *OpenAI) remote() *openai.Client { return p.client }

// checker asks a handler's providers how they are, each as often as is configured. It owns a goroutine for each, from start
// to stop.
type checker struct {
	targets map[check][]*route.Target
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// check is what is asked, and how often.
type check struct {
	provider          checkable
	interval, timeout time.Duration
}

// add has a target checked, if its provider can be and it is configured.
func (c *checker) add(p llmgateway.Provider, t *route.Target, checks *HealthChecks) {
	provider, ok := p.(checkable)
	if !ok || checks.HealthInterval == 0 || llmgateway.StatusOf(p).State == llmgateway.StateDisabled {
		return
	}
	if c.targets == nil {
		c.targets = make(map[check][]*route.Target)
	}
	k := check{provider, time.Duration(checks.HealthInterval), cmp.Or(time.Duration(checks.HealthTimeout), defaultHealthTimeout)}
	c.targets[k] = append(c.targets[k], t)
}

// start begins to check, and returns at once.
func (c *checker) start() {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	for k, targets := range c.targets {
		c.running.Go(func() { k.run(ctx, targets) })
	}
}

// stop ends all checks and waits for that. It may be called more than once.
func (c *checker) stop() {
	if c.cancel != nil {
		c.cancel()
	}
	c.running.Wait()
}

// run checks until ctx ends.
func (k check) run(ctx context.Context, targets []*route.Target) {
	ticker := time.NewTicker(k.interval)
	defer ticker.Stop()
	for {
		within, cancel := context.WithTimeoutCause(ctx, k.timeout, &llmgateway.Error{
			Kind: llmgateway.Timeout, Message: "no answer within " + k.timeout.String(),
		})
		err := k.provider.Check(within)
		cancel()
		if ctx.Err() != nil {
			return
		}
		for _, t := range targets {
			t.State.Checked(t, err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
