package local

import (
	"context"
	"errors"
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
	// MaxWait is how long a request may have to wait for its first token. One that is expected to wait longer, by what was
	// measured so far, is refused at once, so that it can go elsewhere. 0 is no bound.
	MaxWait time.Duration
}

// Generate implements llmgateway.Provider. If the engine is closed already, the only error is [ErrClosed], in an
// [llmgateway.Error].
func (p *Provider) Generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		command := p.Engine.key.Command
		req, err := p.adapt(req)
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
		j, err := newJob(req, p.Engine.key.slots(), p.Engine.queue.isTimed(p.MaxWait > 0))
		if err == nil {
			err = p.enter(ctx, j)
		}
		if err != nil {
			yield(llmgateway.Event{}, err)
			return
		}
		whole := false
		defer func() { p.Engine.queue.leave(j, whole) }()
		// llama-server has one model, whatever the request says.
		attempt := *req
		if command == (Command{}) || command.Model != "" {
			attempt.Model = p.Engine.key.Name()
		}
		attempt.UsageComes = command == (Command{})
		for first, again := true, true; again; first = false {
			again, whole = p.try(ctx, &attempt, j, first, yield)
		}
	}
}

// adapt returns the request that says to llama-server what req says to OpenAI.
func (p *Provider) adapt(req *llmgateway.Request) (*llmgateway.Request, error) {
	media := p.Engine.key.media()
	switch {
	case media && fetches(req):
		return nil, unsuitable("the local model takes images as data: URLs; it fetches none", nil)
	case p.Engine.key.Command != (Command{}): // what other servers do is theirs to know
		return req, nil
	case media && req.Operation == llmgateway.Completion:
		return withOnePrompt(req)
	default:
		return withToolChoice(req)
	}
}

// enter waits until j has its slots.
func (p *Provider) enter(ctx context.Context, j *job) error {
	l := limits{maxQueue: p.MaxQueue, maxWait: p.MaxWait}
	if p.MaxWait > 0 {
		l.loading = p.Engine.loadingLeft()
	}
	err := p.Engine.queue.enter(ctx, j, l)
	if l.loading > 0 && err != nil && llmgateway.AsError(err).Kind == llmgateway.Overloaded {
		// The model would never be loaded if all who find it too slow to load went elsewhere.
		p.Engine.wake()
	}
	return err
}

// try sends the request once. It returns again, and has yielded nothing, if the server's end had nothing to do with the
// request, so that it can be sent to the next server. whole is true if there was an answer and all of it was yielded.
func (p *Provider) try(ctx context.Context, req *llmgateway.Request, j *job, first bool, yield func(llmgateway.Event, error) bool) (again, whole bool) {
	lease, err := p.Engine.lease(ctx)
	if err != nil {
		yield(llmgateway.Event{}, err)
		return false, false
	}
	defer lease.Release()
	p.Engine.queue.send(j, lease.server)
	steered := *req
	if lease.server.slots != "" {
		steered.Additions = append(slices.Clip(req.Additions), j.extra(p.Engine.key.slots())...)
	}
	began := time.Now()
	answered := false
	for event, err := range lease.server.client.Generate(ctx, &steered) {
		if err != nil && ctx.Err() == nil {
			took := time.Since(began)
			stopped := lease.server.stopped(ctx, err)
			if stopped && !answered && (isAny(err, unreached) || closedUnused(err) || first && took < p.Engine.timing.innocent) {
				return true, false
			}
			err = explain(err, stopped)
		}
		p.Engine.queue.event(j, event)
		if !yield(event, err) || err != nil {
			return false, false
		}
		answered = true
	}
	lease.server.answered.Store(true)
	return false, true
}

// explain says what an error of the client means here.
func explain(err error, stopped bool) error {
	if stopped {
		return &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the local model server stopped", Err: err}
	}
	e := llmgateway.AsError(err)
	if e.Kind == llmgateway.InvalidRequest && strings.Contains(e.Message, "unsupported content[].type") {
		return unsuitable("the local model takes texts, images and sound, and no other parts of a message, such as files", e.Err)
	}
	if e.Status != http.StatusInternalServerError || e.Err == nil {
		return err
	}
	// llama-server says 500 for many a mistake of the request, and may quote from it; the error is going to be logged.
	cause := errors.New(unquoted(e.Err.Error()))
	switch text := e.Err.Error(); {
	case strings.Contains(text, "input is not supported"):
		return unsuitable("the local model takes no images", cause)
	case isMistake(text):
		message := "the local model server cannot make sense of the request"
		if cause.Error() != "" {
			message += ": " + cause.Error()
		}
		return unsuitable(message, nil)
	}
	return &llmgateway.Error{Kind: e.Kind, Status: e.Status, Message: "the local model server failed", Err: cause}
}

// mistakes are in what llama-server says of requests that make no sense to it, or to the model's chat template. Were they taken
// for failures of the server, one client could have it put aside for all.
var mistakes = []string{
	"[json.exception.", "Failed to parse messages", "Failed to parse tools", "Failed to parse tool call arguments", "Failed to parse grammar",
	"Failed to initialize samplers", "Invalid base64", "Unknown reasoning format", "Invalid tool_choice", "elements must be", "must be a ", "must be provided",
	"must not be empty", "Error executing ", "Unable to generate parser for this template",
}

// isMistake reports whether llama-server's message is about the request. That its own answer was no UTF-8 is not.
func isMistake(text string) bool {
	return !strings.Contains(text, "type_error.316") &&
		slices.ContainsFunc(mistakes, func(mistake string) bool { return strings.Contains(text, mistake) })
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

// closedUnused reports whether a connection was closed before anything was sent over it. net/http has no name for that error.
func closedUnused(err error) bool {
	return err != nil && strings.Contains(err.Error(), "http: server closed idle connection")
}

func isAny(err error, targets []error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

// noticing is how long the end of a process may take to be known after its connections broke.
const noticing = time.Second

// stopped reports whether err came because the process ended.
func (s *server) stopped(ctx context.Context, err error) bool {
	if !isAny(err, broken) && !closedUnused(err) {
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

// Identity implements llmgateway.Identifier.
func (p *Provider) Identity() string { return p.Engine.key.identity() }

// ModelInfo implements llmgateway.Modeler.
func (p *Provider) ModelInfo() llmgateway.ModelInfo { return p.Engine.ModelInfo() }

// Interface guards
var (
	_ llmgateway.Provider = (*Provider)(nil)
	_ llmgateway.Reporter = (*Provider)(nil)
	_ llmgateway.Modeler  = (*Provider)(nil)

	_ llmgateway.Identifier = (*Provider)(nil)
)
