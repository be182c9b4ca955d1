// Package route chooses who answers a request, and who is asked next when that fails.
//
// A [Table] finds the model a client names; its [Router] tries the model's targets by policy, each under its own
// deadlines, until one of them begins an answer.
package route

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Router is a Provider that answers with the first of its targets that can.
//
// Until the first event that carries something a failed attempt leaves no trace: events before it are held back, and the
// next target is asked. After it, an error ends the answer as broken.
type Router struct {
	Targets []*Target
	// Policy chooses among the targets; nil means [First].
	Policy Policy
	// Retries is how many attempts may follow the first. Negative means one for each further target.
	Retries int
	// TryDuration is how long after its arrival a request may begin a new attempt; 0 means no bound.
	TryDuration time.Duration
	// TryInterval is the longest pause before a target is asked again for the first time; it doubles with each further time. How
	// long the pause is up to there is left to chance: requests that failed together are not to come back together. Another
	// target is asked at once.
	TryInterval time.Duration
	// Timeout bounds the whole generation, over all attempts; 0 means no bound.
	Timeout time.Duration

	chance func() float64 // returns a number in [0, 1) for a pause; nil means a random one
}

// Generate implements llmgateway.Provider. A request that names a provider is only sent to that provider's targets, and no
// request to a target that is known to lack what it needs.
func (r *Router) Generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return r.generate(ctx, req, nil)
}

// generate answers a request. The table, if there is one, knows who else could.
func (r *Router) generate(ctx context.Context, req *llmgateway.Request, table *Table) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		if r.Timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, r.Timeout, late("no whole answer", r.Timeout))
			defer cancel()
		}
		trace := llmgateway.ContextTrace(ctx)
		run := newRun(r, req, table)
		for {
			target, ok := run.next(ctx)
			if !ok {
				break
			}
			attempt := *req
			attempt.Model = target.model(req.Model)
			info := llmgateway.Attempt{Provider: target.Name, Model: attempt.Model, Price: target.Price, Number: run.attempts}
			began := time.Now()
			answering := func() {
				if trace.Answering != nil {
					info.Duration = time.Since(began)
					trace.Answering(info)
				}
			}
			err := commit(ctx, answering, target.generate(ctx, &attempt), yield)
			if err == nil {
				return
			}
			info.Duration, info.Err = time.Since(began), err
			if trace.Tried != nil {
				trace.Tried(info)
			}
			run.failed(target.Target, llmgateway.AsError(err))
		}
		yield(llmgateway.Event{}, run.err(ctx))
	}
}

// maxHeld bounds the events held back before one carries something. What carries nothing may be dropped.
const maxHeld = 16

// commit passes events on, from the first that carries something; answering is called right before it. It returns nil
// once the caller has been given an answer, whole or broken, and an error if nothing was passed on, so that another
// target can be asked.
func commit(ctx context.Context, answering func(), events iter.Seq2[llmgateway.Event, error], yield func(llmgateway.Event, error) bool) error {
	var held []llmgateway.Event
	committed := false
	for event, err := range events {
		if err != nil {
			err = cause(ctx, err)
		}
		if committed {
			if !yield(event, err) || err != nil {
				return nil
			}
			continue
		}
		if err != nil {
			return err
		}
		if !event.Carries {
			if len(held) < maxHeld {
				event.Data, event.More = slices.Clone(event.Data), true
				held = append(held, event)
			}
			continue
		}
		committed = true
		answering()
		for _, early := range held {
			if !yield(early, nil) {
				return nil
			}
		}
		if !yield(event, nil) {
			return nil
		}
	}
	if !committed {
		return cause(ctx, &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the provider ended without an answer"})
	}
	return nil
}

// cause returns why an attempt ended: a provider that was stopped may say it in its own way.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
