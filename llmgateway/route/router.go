// Package route chooses who answers a request, and who is asked next when that fails.
//
// A [Table] finds the model a client names; its [Router] tries the model's targets by policy, each under its own
// deadlines, until one of them begins an answer.
package route

import (
	"context"
	"iter"
	"maps"
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
	// TryInterval is the pause before a target is asked again. Another target is asked at once.
	TryInterval time.Duration
	// Timeout bounds the whole generation, over all attempts; 0 means no bound.
	Timeout time.Duration
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
			target := run.next(ctx)
			if target == nil {
				break
			}
			attempt := *req
			attempt.Model = target.model(req.Model)
			info := llmgateway.Attempt{Provider: target.Name, Model: attempt.Model, Number: run.attempts}
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
			run.failed(target, llmgateway.AsError(err))
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

// run is what one request has tried so far.
type run struct {
	router   *Router
	table    *Table // or nil
	req      *llmgateway.Request
	demand   demand
	began    time.Time
	left     []*Target             // not tried yet
	again    map[*Target]time.Time // tried, and worth asking again from then on
	eligible int                   // how many targets there were to begin with
	attempts int
	final    *llmgateway.Error // an error that no other target can mend
	failures []failure
}

func newRun(r *Router, req *llmgateway.Request, table *Table) *run {
	u := &run{router: r, table: table, req: req, demand: demand{req: req}, left: make([]*Target, 0, len(r.Targets))}
	if r.TryDuration > 0 {
		u.began = time.Now()
	}
	for _, t := range r.Targets {
		if req.Provider != "" && t.Name != req.Provider {
			continue
		}
		if err := u.unfit(t); err != nil {
			u.failures = append(u.failures, failure{target: t, err: err, skipped: true})
			continue
		}
		u.left = append(u.left, t)
	}
	u.eligible = len(u.left)
	return u
}

// unfit returns why a target need not be asked, or nil if it may answer.
func (u *run) unfit(t *Target) *llmgateway.Error {
	p := t.provider(u.req.Model)
	if p == nil {
		return t.noModel(t.model(u.req.Model))
	}
	if status := llmgateway.StatusOf(p); status.State == llmgateway.StateDisabled {
		return &llmgateway.Error{Kind: llmgateway.Overloaded, Message: "disabled: " + status.Detail}
	}
	return u.demand.unmet(t.limits(p))
}

// next returns the target of the next attempt, or nil if there is to be none. It waits before it repeats a target.
func (u *run) next(ctx context.Context) *Target {
	retries := u.router.Retries
	if retries < 0 {
		retries = u.eligible - 1
	}
	if u.final != nil || u.attempts > retries || ctx.Err() != nil {
		return nil
	}
	candidates := u.left
	if len(candidates) == 0 {
		if candidates = u.recovered(ctx); len(candidates) == 0 {
			return nil
		}
	}
	if u.attempts > 0 && u.router.TryDuration > 0 && time.Since(u.began) > u.router.TryDuration {
		return nil
	}
	policy := u.router.Policy
	if policy == nil {
		policy = First{}
	}
	t := policy.Select(candidates, u.req)
	u.left = slices.DeleteFunc(u.left, func(other *Target) bool { return other == t })
	delete(u.again, t)
	u.attempts++
	return t
}

// recovered returns the targets that may be asked again, in configured order. It waits for the first of them, and returns
// none if there is no time for it.
func (u *run) recovered(ctx context.Context) (candidates []*Target) {
	if len(u.again) == 0 {
		return nil
	}
	first := slices.MinFunc(slices.Collect(maps.Values(u.again)), time.Time.Compare)
	wait := time.Until(first)
	if u.router.TryDuration > 0 && time.Since(u.began)+wait > u.router.TryDuration {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil
	}
	now := time.Now()
	for _, t := range u.router.Targets {
		if at, ok := u.again[t]; ok && !at.After(now) {
			candidates = append(candidates, t)
		}
	}
	return candidates
}

// maxRetryAfter is the longest wish of a provider that a request waits for.
const maxRetryAfter = 10 * time.Second

func (u *run) failed(t *Target, err *llmgateway.Error) {
	u.failures = append(u.failures, failure{target: t, err: err})
	switch err.Kind {
	case llmgateway.InvalidRequest, llmgateway.ContentFilter, llmgateway.Canceled:
		u.final = err
	case llmgateway.RateLimited, llmgateway.Overloaded, llmgateway.Upstream:
		if err.RetryAfter <= maxRetryAfter {
			if u.again == nil {
				u.again = make(map[*Target]time.Time)
			}
			u.again[t] = time.Now().Add(max(u.router.TryInterval, err.RetryAfter))
		}
	case llmgateway.ContextLength:
		u.exceeded(t)
	case llmgateway.Unsupported, llmgateway.NoModel, llmgateway.Denied, llmgateway.Timeout:
		// Asking the same target again gives the same answer, or takes as long.
	}
}

// exceeded takes in that the request did not fit into a target's context: those whose context is no longer are not asked.
func (u *run) exceeded(t *Target) {
	p := t.provider(u.req.Model)
	if p == nil || u.req.Operation == llmgateway.Embeddings {
		return
	}
	u.demand.exceeded = max(u.demand.exceeded, t.limits(p).Context)
	u.left = slices.DeleteFunc(u.left, func(other *Target) bool {
		err := u.unfit(other)
		if err != nil {
			u.failures = append(u.failures, failure{target: other, err: err, skipped: true})
		}
		return err != nil
	})
	maps.DeleteFunc(u.again, func(other *Target, _ time.Time) bool { return u.unfit(other) != nil })
}

// err returns the error for a request that nobody answered.
func (u *run) err(ctx context.Context) error {
	if u.final != nil {
		return u.final
	}
	if ctx.Err() != nil {
		if e := llmgateway.AsError(context.Cause(ctx)); e.Kind == llmgateway.Canceled || len(u.failures) == 0 {
			return e
		}
	}
	if len(u.failures) == 0 {
		return &llmgateway.Error{Kind: llmgateway.NoModel, Message: "no target is configured"}
	}
	all := summary(u.failures)
	unfit := all.Kind == llmgateway.Unsupported || all.Kind == llmgateway.ContextLength
	if unfit && u.table != nil && (u.attempts == 0 || u.demand.exceeded > 0) {
		all.Message += u.table.advice(&u.demand, u.failures)
	}
	return all
}
