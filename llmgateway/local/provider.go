package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"syscall"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Provider sends requests to an [Engine]. Several may share one engine, each with its own waiting room.
type Provider struct {
	// Engine is where the model runs.
	Engine *Engine
	// MaxQueue is how many requests may wait for a slot. One more is refused at once, so that it can go elsewhere.
	MaxQueue int
}

// Generate implements llmgateway.Provider.
func (p *Provider) Generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		full, err := p.Engine.queue.enter(ctx, p.MaxQueue)
		if full {
			err = &llmgateway.Error{Kind: llmgateway.Overloaded, Message: "the local model's queue is full"}
		} else if err != nil {
			err = fmt.Errorf("waiting for a slot of the local model: %w", err)
		}
		if err != nil {
			yield(llmgateway.Event{}, err)
			return
		}
		defer p.Engine.queue.leave()
		// llama-server has one model, whatever the request says.
		attempt := *req
		attempt.Model = p.Engine.key.Name()
		for p.try(ctx, &attempt, yield) {
		}
	}
}

// try sends the request once. It returns true, and has yielded nothing, if the server was gone before the request could
// reach it.
func (p *Provider) try(ctx context.Context, req *llmgateway.Request, yield func(llmgateway.Event, error) bool) (again bool) {
	lease, err := p.Engine.Acquire(ctx)
	if err != nil {
		yield(llmgateway.Event{}, err)
		return false
	}
	defer lease.Release()
	for event, err := range lease.server.client.Generate(ctx, req) {
		if err != nil && ctx.Err() == nil {
			if lease.server.stopped(ctx, err) {
				if isAny(err, unreached) {
					return true
				}
				err = &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the local model server stopped", Err: err}
			}
		}
		if !yield(event, err) || err != nil {
			return false
		}
	}
	return false
}

// broken are the errors of a connection whose other end is gone. With unreached, it was gone before it was connected.
var (
	unreached = []error{syscall.ECONNREFUSED, syscall.ENOENT}
	broken    = append([]error{syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF}, unreached...)
)

func isAny(err error, targets []error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

// noticing is how long the end of a process may take to be known after its connections broke.
const noticing = time.Second

// stopped reports whether err came because the process ended.
func (s *server) stopped(ctx context.Context, err error) bool {
	if !isAny(err, broken) {
		return false
	}
	timer := time.NewTimer(noticing)
	defer timer.Stop()
	select {
	case <-s.process.exited:
		return true
	case <-ctx.Done():
	case <-timer.C:
	}
	return false
}

// Status implements llmgateway.Reporter.
func (p *Provider) Status() llmgateway.Status { return p.Engine.Status() }

// ModelInfo implements llmgateway.Modeler.
func (p *Provider) ModelInfo() llmgateway.ModelInfo { return p.Engine.ModelInfo() }

// Interface guards
var (
	_ llmgateway.Provider = (*Provider)(nil)
	_ llmgateway.Reporter = (*Provider)(nil)
	_ llmgateway.Modeler  = (*Provider)(nil)
)
