package caddymodule

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local/memory"
)

// engines holds the local models of all running configurations, so that a reload keeps what is loaded. The key is
// everything that a server is started with.
var engines = caddy.NewUsagePool()

// budget is the memory that they share. It survives reloads, as they do; the running configuration sets its size.
var budget = sync.OnceValue(func() *memory.Budget { return memory.NewBudget(local.MachineMemory()) })

// holdEngine takes a reference to an engine, which whoever took it gives back with engines.Delete.
func holdEngine(key local.Key) (*local.Engine, error) {
	value, _, err := engines.LoadOrNew(key, func() (caddy.Destructor, error) {
		// Not the context's logger: the engine outlives the configuration that starts it.
		engine := local.NewEngine(key, budget(), slog.New(currentLog{}))
		engine.Notify = tellOf(key)
		settling.add(engine)
		return engine, nil
	})
	if err != nil {
		return nil, err
	}
	return value.(*local.Engine), nil
}

// heldEngine is a provider's hold on its engine. The zero value holds none.
type heldEngine struct {
	provider *local.Provider
	key      local.Key
	held     bool
	withdraw func() // what was asked of the engine; nil before begin
}

// hold takes hold of the engine for a configuration, and starts nothing.
func (h *heldEngine) hold(config local.Config, maxQueue int, maxWait time.Duration) error {
	h.key = config.Key()
	engine, err := holdEngine(h.key)
	if err != nil {
		return err
	}
	h.held = true
	h.provider = &local.Provider{Engine: engine, MaxQueue: maxQueue, MaxWait: maxWait}
	return nil
}

// release lets go of the engine exactly if hold took hold of it. Requests that are still running keep it.
func (h *heldEngine) release() error {
	if !h.held {
		return nil
	}
	h.held = false
	if h.withdraw != nil {
		h.withdraw()
	}
	_, err := engines.Delete(h.key)
	return err
}

// begin is for when the configuration is in force.
func (h *heldEngine) begin(keepAlive time.Duration, preload bool) {
	h.withdraw = h.provider.Engine.KeepAlive(keepAlive)
	if preload {
		h.provider.Engine.Preload()
	}
}

// generate sends a request to the engine. Requests may still come after release, over connections of the configuration that
// went, or have been on their way: if nobody else has the engine any more, they get one of their own.
func (h *heldEngine) generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		for event, err := range h.provider.Generate(ctx, req) {
			if errors.Is(err, local.ErrClosed) {
				h.generateLate(ctx, req, yield)
				return
			}
			if !yield(event, err) {
				return
			}
		}
	}
}

// generateLate answers a request whose engine is closed.
func (h *heldEngine) generateLate(ctx context.Context, req *llmgateway.Request, yield func(llmgateway.Event, error) bool) {
	engine, err := holdEngine(h.key)
	if err != nil {
		yield(llmgateway.Event{}, err)
		return
	}
	defer func() { _, _ = engines.Delete(h.key) }()
	late := *h.provider
	late.Engine = engine
	late.Generate(ctx, req)(yield)
}
