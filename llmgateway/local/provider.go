package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
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

// Generate implements llmgateway.Provider. If the engine is closed already, the only error is [ErrClosed], in an
// [llmgateway.Error].
func (p *Provider) Generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		if p.Engine.key.media() && fetches(req) {
			yield(llmgateway.Event{}, unsuitable("the local model takes images as data: URLs; it fetches none", nil))
			return
		}
		req, err := withToolChoice(req)
		if err != nil {
			yield(llmgateway.Event{}, err)
			return
		}
		// A request that waits for its slot holds the engine like one that has it: its configuration may go meanwhile.
		release, err := p.Engine.hold(ctx)
		if err != nil {
			yield(llmgateway.Event{}, err)
			return
		}
		defer release()
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
		for first := true; p.try(ctx, &attempt, first, yield); first = false {
		}
	}
}

// try sends the request once. It returns true, and has yielded nothing, if the server's end had nothing to do with the
// request, so that it can be sent to the next server.
func (p *Provider) try(ctx context.Context, req *llmgateway.Request, first bool, yield func(llmgateway.Event, error) bool) (again bool) {
	lease, err := p.Engine.lease(ctx)
	if err != nil {
		yield(llmgateway.Event{}, err)
		return false
	}
	defer lease.Release()
	began := time.Now()
	answered := false
	for event, err := range lease.server.client.Generate(ctx, req) {
		if err != nil && ctx.Err() == nil {
			took := time.Since(began)
			stopped := lease.server.stopped(ctx, err)
			if stopped && !answered && (isAny(err, unreached) || first && took < p.Engine.timing.innocent) {
				return true
			}
			err = explain(err, stopped)
		}
		if !yield(event, err) || err != nil {
			return false
		}
		answered = true
	}
	lease.server.answered.Store(true)
	return false
}

// explain says what an error of the client means here.
func explain(err error, stopped bool) error {
	if stopped {
		return &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the local model server stopped", Err: err}
	}
	e := llmgateway.AsError(err)
	if e.Status != http.StatusInternalServerError || e.Err == nil {
		return err
	}
	// llama-server says 500 for many a mistake of the request, and may quote from it; the error is going to be logged.
	cause := errors.New(unquoted(e.Err.Error()))
	if strings.Contains(cause.Error(), "input is not supported") {
		return unsuitable("the local model takes no images", cause)
	}
	return &llmgateway.Error{Kind: e.Kind, Status: e.Status, Message: "the local model server failed", Err: cause}
}

// unsuitable is the error for a request that another model may be able to take.
func unsuitable(message string, err error) error {
	return &llmgateway.Error{Kind: llmgateway.Unsupported, Message: message, Param: "messages", Err: err}
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
		return false
	case <-timer.C:
	}
	if !isAny(err, unreached) {
		return false
	}
	// It runs, but its socket is gone: somebody has cleaned up too well. Another server will have another socket.
	s.process.kill()
	return true
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
