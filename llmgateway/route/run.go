package route

import (
	"context"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

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
	outrun   int               // attempts that were given up because another was faster; they have not failed
	final    *llmgateway.Error // an error that no other target can mend
	failures []failure
	chances  []float64 // of pauses, by how often a target has failed
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
	if !t.Drain.Since().IsZero() {
		return errDrained
	}
	if u.req.Untranslated != nil && t.native(p, u.req) == nil {
		return u.req.Untranslated
	}
	if err := u.demand.unmet(t.limits(p)); err != nil {
		return err
	}
	return t.excluded(&u.demand)
}

// may reports whether a target that was not tried may be asked now.
func (u *run) may() bool {
	return len(u.left) > 0 && u.attempts-u.outrun <= u.retries() && (u.router.TryDuration == 0 || time.Since(u.began) <= u.router.TryDuration)
}

// retries returns how many attempts may follow the first.
func (u *run) retries() int {
	if u.router.Retries < 0 {
		return u.eligible - 1
	}
	return u.router.Retries
}

// next chooses the target of the next attempt and takes a place there; there may be none. It waits before it repeats a target.
// The place is given back by ranging over what the choice generates, so that must be done.
func (u *run) next(ctx context.Context) (choice, bool) {
	for u.final == nil && u.attempts-u.outrun <= u.retries() && ctx.Err() == nil {
		candidates := u.left
		if len(candidates) == 0 {
			if candidates = u.recovered(ctx); len(candidates) == 0 {
				break
			}
		}
		if u.attempts > 0 && u.router.TryDuration > 0 && time.Since(u.began) > u.router.TryDuration {
			break
		}
		if c, ok := u.choose(candidates); ok {
			u.forget(c.Target)
			u.attempts++
			c.first = u.attempts == 1
			return c, true
		}
		for _, t := range slices.Clone(candidates) {
			u.failures = append(u.failures, failure{target: t, err: t.tooMany(), skipped: true})
			u.forget(t)
		}
	}
	return choice{}, false
}

// choose asks the policy for one of the candidates that are up, and takes a place there. If none is up, it takes the one that
// recovers first: it may answer, and nobody else will. It fails if all of them have as many requests as they may.
func (u *run) choose(candidates []*Target) (choice, bool) {
	policy := u.router.Policy
	if policy == nil {
		policy = First{}
	}
	for up := upOf(candidates); len(up) > 0; {
		t := policy.Select(up, u.req)
		if c, ok := t.enter(false); ok {
			return c, true
		}
		// Another request has been faster. What is offered is not the run's own list any more.
		up = slices.DeleteFunc(slices.Clone(up), func(other *Target) bool { return other == t })
	}
	for _, t := range slices.SortedStableFunc(slices.Values(candidates), func(a, b *Target) int { return a.returns().Compare(b.returns()) }) {
		if c, ok := t.enter(true); ok {
			return c, true
		}
	}
	return choice{}, false
}

// upOf returns the targets that would take a request now: all of them, as they are given, in the usual case.
func upOf(targets []*Target) []*Target {
	if !slices.ContainsFunc(targets, (*Target).closed) {
		return targets
	}
	return slices.DeleteFunc(slices.Clone(targets), (*Target).closed)
}

// forget takes a target off those to be asked.
func (u *run) forget(t *Target) {
	u.left = slices.DeleteFunc(u.left, func(other *Target) bool { return other == t })
	delete(u.again, t)
}

// spare takes in that a target was given up because another was faster. It may be asked after all others, should that one break.
func (u *run) spare(t *Target) {
	u.outrun++
	u.left = append(u.left, t)
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
		if err.RetryAfter <= maxRetryAfter && passes(err.Status) {
			if u.again == nil {
				u.again = make(map[*Target]time.Time)
			}
			u.again[t] = time.Now().Add(max(u.pause(u.times(t)), err.RetryAfter))
		}
	case llmgateway.ContextLength:
		u.exceeded(t)
	case llmgateway.Unsupported, llmgateway.NoModel, llmgateway.Denied, llmgateway.Timeout:
		// Asking the same target again gives the same answer, or takes as long.
	}
}

// passes reports whether what a provider said with a status may be over soon. A wrong address, a redirection or a body that is too
// large is there the next time, too.
func passes(status int) bool {
	switch {
	case status < 300, status >= 500:
		return true
	default:
		return status == http.StatusRequestTimeout || status == http.StatusConflict || status == http.StatusTooEarly || status == http.StatusTooManyRequests
	}
}

// times returns how often a target has failed.
func (u *run) times(t *Target) (n int) {
	for _, f := range u.failures {
		if f.target == t && !f.skipped {
			n++
		}
	}
	return n
}

// maxPause is the longest pause that a target is left alone for, unless TryInterval is longer.
const maxPause = 10 * time.Second

// pause returns how long to leave a target alone that has failed n times. Targets that have failed equally often are left
// alone equally long, so that the policy decides between them.
func (u *run) pause(n int) time.Duration {
	longest := u.router.TryInterval
	for range n - 1 {
		if longest >= maxPause {
			break
		}
		longest = min(2*longest, maxPause)
	}
	for len(u.chances) < n {
		chance := u.router.chance
		if chance == nil {
			chance = rand.Float64
		}
		u.chances = append(u.chances, chance())
	}
	return time.Duration(u.chances[n-1] * float64(longest))
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
	if !slices.ContainsFunc(u.failures, func(f failure) bool { return !f.conditional() }) {
		all.Message += allConditional
	}
	unfit := all.Kind == llmgateway.Unsupported || all.Kind == llmgateway.ContextLength
	if unfit && u.table != nil && (u.attempts == 0 || u.demand.exceeded > 0) {
		all.Message += u.table.advice(&u.demand, u.failures)
	}
	return all
}
