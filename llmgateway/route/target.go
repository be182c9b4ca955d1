package route

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/cache"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// Target is one model at one provider, and how long it may take. A deadline of 0 is none.
type Target struct {
	// Name is the provider's configured name.
	Name string
	// Provider answers. If it is an [llmgateway.Catalog], its provider of the model does.
	Provider llmgateway.Provider
	// Model is what the provider calls the model. Empty means what the client asked for, or the one model of a
	// provider that has just one.
	Model string
	// Price is what its tokens cost.
	Price llmgateway.Price
	// Context is the most tokens that one request may hold, prompt and answer together. 0 means what the provider says, or
	// no bound if it says nothing. A longer prompt is not sent here.
	Context int
	// Capabilities is what the target can do of all there is. Nil means what the provider says, and everything that it says
	// nothing of. A request that needs more is not sent here.
	Capabilities *llmgateway.Capabilities
	// TakesModels is true if the provider understands a list of models in a request, as OpenRouter does.
	TakesModels bool
	// When are conditions that all hold for the requests that the target is for. Others are not sent here.
	When []Rule

	// Cache answers what was asked before; nil for none.
	Cache *cache.Cache

	// State is what is known of how the target does, shared by all that is one target in truth. Nil means that nothing is kept.
	State *State
	// Breaker says when the target counts as down. Nil means never. It needs a State.
	Breaker *Breaker

	// Drain takes the target out of service by hand. Nil means that nobody can.
	Drain *Drain

	// FirstTokenTimeout bounds the time to the first event that carries something. A target that has it is asked to
	// stream even if the client does not, so that silence can be told from a long answer.
	FirstTokenTimeout time.Duration
	// StreamIdleTimeout bounds the silence between two events of a stream.
	StreamIdleTimeout time.Duration
	// Timeout bounds one attempt as a whole.
	Timeout time.Duration
}

// model returns the name to ask for when the client asked for asked. A catalog may know the model by another spelling.
func (t *Target) model(asked string) string {
	name := cmp.Or(t.Model, asked)
	p := t.Provider
	if c, ok := p.(llmgateway.Catalog); ok {
		p = c.Lookup(name)
	} else if t.Model != "" {
		return name
	}
	if m, ok := p.(llmgateway.Modeler); ok {
		return m.ModelInfo().Name
	}
	return name
}

// provider returns who answers when the client asked for asked, or nil if the provider has no such model now.
func (t *Target) provider(asked string) llmgateway.Provider {
	return llmgateway.ProviderOf(t.Provider, t.model(asked))
}

// noModel is the error for a model that the target's catalog does not have now. It tells what there is instead.
func (t *Target) noModel(model string) *llmgateway.Error {
	message := "it has no model " + shown(model) + " now"
	if c, ok := t.Provider.(llmgateway.Catalog); ok {
		names := c.Models()
		if more := len(names) - maxNames; more > 0 {
			names = append(names[:maxNames:maxNames], fmt.Sprintf("and %d more", more))
		}
		message += "; it has: " + cmp.Or(strings.Join(names, ", "), "none")
	}
	return &llmgateway.Error{Kind: llmgateway.NoModel, Message: message, Param: "model"}
}

// maxNames is how many names of models an error tells.
const maxNames = 20

// generate makes one attempt, which the cache may answer. req has the target's own name of the model; first is true if it is
// the first attempt for its request.
func (t *Target) generate(ctx context.Context, req *llmgateway.Request, first bool) iter.Seq2[llmgateway.Event, error] {
	p := llmgateway.ProviderOf(t.Provider, req.Model)
	if p == nil { // it went since the target was chosen
		return func(yield func(llmgateway.Event, error) bool) { yield(llmgateway.Event{}, t.noModel(req.Model)) }
	}
	if t.Cache == nil {
		return t.attempt(ctx, p, req, first)
	}
	scope := cache.Scope{Tenant: req.Tenant, Provider: t.Name, Model: req.Model}
	if i, ok := p.(llmgateway.Identifier); ok {
		scope.Provider = i.Identity()
	}
	if req.Exchange != nil {
		scope.Provider += "\n" + req.Exchange.Identity()
	}
	return t.Cache.Generate(ctx, scope, req, func(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
		return unpanicked(t.attempt(ctx, p, req, first)) // several requests may share it
	})
}

// attempt asks the provider, by way of the request's exchange if it has one.
func (t *Target) attempt(ctx context.Context, p llmgateway.Provider, req *llmgateway.Request, first bool) iter.Seq2[llmgateway.Event, error] {
	if req.Exchange == nil {
		return t.ask(ctx, p, req, first)
	}
	to := llmgateway.Destination{Provider: t.Name, Model: req.Model, Limits: t.limits(p)}
	return req.Exchange.Attempt(ctx, to, req, func(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
		return t.ask(ctx, p, req, first)
	})
}

// ask asks the provider, and takes in what becomes of it.
func (t *Target) ask(ctx context.Context, p llmgateway.Provider, req *llmgateway.Request, first bool) iter.Seq2[llmgateway.Event, error] {
	events := t.limited(ctx, p, req)
	if t.State == nil {
		return events
	}
	return witness{Target: t, stream: req.Stream, first: first}.pass(ctx, events)
}

// limited asks the provider, under the target's deadlines.
func (t *Target) limited(ctx context.Context, p llmgateway.Provider, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	if t.FirstTokenTimeout == 0 && t.StreamIdleTimeout == 0 && t.Timeout == 0 {
		return p.Generate(ctx, req)
	}
	if !req.Stream && t.streams(req) {
		streamed := *req
		streamed.Stream = true
		return openai.Merge(t.watch(ctx, p, &streamed))
	}
	return t.watch(ctx, p, req)
}

// streams reports whether the provider is asked for a stream.
func (t *Target) streams(req *llmgateway.Request) bool {
	return req.Stream || t.FirstTokenTimeout > 0 && req.Operation != llmgateway.Embeddings && !req.Operation.Foreign()
}

// watch ends the attempt when a deadline passes. Deadlines are timers that cancel the attempt's context, so that
// whatever waits for the provider stops waiting by itself.
func (t *Target) watch(ctx context.Context, p llmgateway.Provider, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		if t.Timeout > 0 {
			defer time.AfterFunc(t.Timeout, func() { cancel(late("no whole answer", t.Timeout)) }).Stop()
		}
		idle := newDeadline(cancel)
		defer idle.stop()
		if req.Stream || !req.Operation.Foreign() {
			idle.set(t.FirstTokenTimeout, "no first token")
		}
		committed, fresh := false, false // whether the time of silence begins anew with the next event that is not at hand
		for event, err := range p.Generate(ctx, req) {
			if err != nil {
				yield(event, cause(ctx, err))
				return
			}
			// Waiting for a slow client is not the provider's silence.
			if committed || event.Carries {
				idle.pause()
			}
			if !yield(event, nil) {
				return
			}
			switch committed = committed || event.Carries; {
			case !committed || !req.Stream || t.StreamIdleTimeout == 0:
			case event.More && !event.Empty:
				fresh = true
			case !event.Empty || fresh:
				idle.set(t.StreamIdleTimeout, "no further token")
				fresh = false
			default: // who sends nothing but such events is silent
				idle.resume()
			}
		}
	}
}

// late is the error for a deadline that has passed. Who was silent until then is taken to have worked.
func late(what string, after time.Duration) error {
	return &llmgateway.Error{Kind: llmgateway.Timeout, Message: what + " within " + after.String(), Used: new(llmgateway.Usage)}
}

// deadline is a timer that can be set again and again.
type deadline struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
	what   string
	after  time.Duration
	began  time.Time     // when it was set, or went on
	left   time.Duration // what was left of it then
}

func newDeadline(cancel context.CancelCauseFunc) *deadline {
	return &deadline{cancel: cancel}
}

func (d *deadline) set(after time.Duration, what string) {
	if after <= 0 {
		return
	}
	d.began, d.left = time.Now(), after
	if d.timer != nil && d.what == what && d.after == after {
		d.timer.Reset(after)
		return
	}
	d.stop()
	d.what, d.after = what, after
	err := late(what, after)
	d.timer = time.AfterFunc(after, func() { d.cancel(err) })
}

// pause stops the time until resume or set.
func (d *deadline) pause() {
	if d.timer != nil && d.timer.Stop() {
		d.left -= time.Since(d.began)
	}
}

// resume lets what was left when the time was stopped go on, if it was ever set.
func (d *deadline) resume() {
	if d.timer == nil {
		return
	}
	d.began = time.Now()
	d.timer.Reset(max(d.left, 0))
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}
