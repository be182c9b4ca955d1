package route

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// answer is what one request gets, from however many targets. One goroutine uses it.
type answer struct {
	run        *run
	trace      *llmgateway.Trace
	yield      func(llmgateway.Event, error) bool
	transcript *openai.Transcript // nil if an answer that breaks stays broken
	committed  bool               // something was passed on
	broke      *llmgateway.Error  // why the answer broke, if another target is asked to finish it
	before     int                // failures before it broke
}

// attempt is one try at a target.
type attempt struct {
	choice
	req   llmgateway.Request
	info  llmgateway.Attempt
	began time.Time
	spent spent
}

// begin makes an attempt at a target that was chosen for the next one, and returns the context for it.
func (a *answer) begin(ctx context.Context, target choice) (context.Context, *attempt) {
	t := &attempt{choice: target, req: *a.run.req, began: time.Now()}
	if native := target.native(target.provider(t.req.Model), &t.req); native != nil && a.broke == nil {
		t.req.Operation, t.req.Body, t.req.Members, t.req.Additions = native.Operation, native.Body, native.Members, nil
	}
	t.req.Model = target.model(t.req.Model)
	t.info = llmgateway.Attempt{Provider: target.Name, Model: t.req.Model, Price: target.Price, Number: a.run.attempts}
	if p := llmgateway.ProviderOf(target.Provider, t.req.Model); t.req.Exchange != nil && p != nil {
		t.info.Context = target.limits(p).Context
	}
	if a.trace.Attempting != nil {
		ctx = a.trace.Attempting(ctx, t.info)
	}
	return ctx, t
}

// after returns what is known of the attempt now.
func (t *attempt) after(err error) llmgateway.Attempt {
	info := t.info
	info.Duration, info.Err = time.Since(t.began), err
	return info
}

// tell calls a hook, if there is one.
func tell(hook func(llmgateway.Attempt), info llmgateway.Attempt) {
	if hook != nil {
		hook(info)
	}
}

// try asks a target, and reports whether the request has been given all it will get. If not, another target can be asked.
func (a *answer) try(ctx context.Context, target choice) (done bool) {
	if a.broke == nil && a.run.hedged() {
		return a.race(ctx, target)
	}
	ctx, t := a.begin(ctx, target)
	if a.broke != nil {
		return a.resume(ctx, t)
	}
	return a.answerWith(ctx, t, t.events(ctx))
}

// answerWith passes on what an attempt at the answer brings.
func (a *answer) answerWith(ctx context.Context, t *attempt, events iter.Seq2[llmgateway.Event, error]) (done bool) {
	_, err := a.pass(ctx, t, func() { tell(a.trace.Answering, t.after(nil)) }, events)
	switch {
	case err == nil:
		return true
	case !a.committed:
		a.failed(t, err)
		return false
	case a.transcript == nil || t.req.Operation.Foreign() || !a.transcript.CanResume():
		a.yield(llmgateway.Event{}, err)
		return true
	}
	a.broke, a.before = llmgateway.AsError(err), len(a.run.failures)
	tell(a.trace.Broke, t.after(err))
	a.run.failed(t.Target, a.broke)
	return false
}

// failed takes in an attempt of which nothing was passed on.
func (a *answer) failed(t *attempt, err error) {
	tell(a.trace.Tried, t.after(err))
	a.run.failed(t.Target, llmgateway.AsError(err))
}

// maxHeld bounds the events held back before one carries something. What carries nothing may be dropped.
const maxHeld = 16

// pass passes an attempt's events on, from the first that carries something; answering is called right before it, and begun is
// true from then on. The error is nil if the caller has been given a whole answer or has left, and otherwise why there is no more.
func (a *answer) pass(ctx context.Context, t *attempt, answering func(), events iter.Seq2[llmgateway.Event, error]) (begun bool, err error) {
	var failure error // as the attempt tells it
	defer func() { a.account(t, failure) }()
	var held []llmgateway.Event
	for event, err := range events {
		if err != nil {
			failure = lastWord(ctx, err)
			return begun, cause(ctx, err)
		}
		if event.Whole {
			a.account(t, nil) // what it has used is known before the client can know that its answer is whole
		}
		if !begun && !event.Carries {
			held = hold(held, event)
			continue
		}
		if !begun && a.broke == nil && openai.SaysNothing(event) && a.run.may() {
			return false, errNothingSaid
		}
		if !begun {
			begun, a.committed = true, true
			answering()
			for _, early := range held {
				if !a.forward(early) {
					return true, nil
				}
			}
		}
		if !a.forward(event) {
			return true, nil
		}
	}
	if !begun && a.broke == nil {
		return false, cause(ctx, errNoAnswer)
	}
	return begun, nil
}

var errNoAnswer = &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the provider ended without an answer"}

// errNothingSaid is why another target is asked. If there is none, the answer is passed on: a model may have nothing to say.
var errNothingSaid = &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the provider sent an answer with nothing in it"}

// hold keeps an event that carries nothing.
func hold(held []llmgateway.Event, event llmgateway.Event) []llmgateway.Event {
	if len(held) == maxHeld {
		return held
	}
	event.Data, event.More = slices.Clone(event.Data), true
	return append(held, event)
}

// forward passes one event on, and reports whether there may be more.
func (a *answer) forward(event llmgateway.Event) bool {
	if a.transcript != nil && !event.Native {
		a.transcript.Follow(event)
	}
	return a.yield(event, nil)
}

// cause returns why an attempt ended: a provider that was stopped may say it in its own way.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
