// Package route chooses who answers a request, and who is asked next when that fails.
//
// A [Table] finds the model a client names; its [Router] tries the model's targets by policy, each under its own
// deadlines, until one of them begins an answer.
package route

import (
	"context"
	"iter"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// Router is a Provider that answers with the first of its targets that can.
//
// Until the first event that carries something a failed attempt leaves no trace: events before it are held back, and the
// next target is asked. After it, an error ends the answer as broken, unless another target may finish it.
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
	// Resume lets another target finish a stream that breaks.
	Resume bool
	// Hedge says when a second target is asked while the first is silent; nil means never.
	Hedge *Hedge
	// Named means that a request must name its provider. A [Table] sees to it.
	Named bool
	// Mirror sends copies of requests to a model under test; nil means none. A [Table] asks it.
	Mirror *Mirror

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
		a := answer{run: newRun(r, req, table), trace: llmgateway.ContextTrace(ctx), yield: yield}
		if r.Resume {
			a.transcript = openai.NewTranscript(req)
		}
		for {
			target, ok := a.run.next(ctx)
			if !ok {
				break
			}
			if a.try(ctx, target) {
				return
			}
		}
		if a.broke != nil {
			yield(llmgateway.Event{}, a.notResumed(ctx))
			return
		}
		yield(llmgateway.Event{}, a.run.err(ctx))
	}
}
