package route

import (
	"context"
	"iter"
	"sync/atomic"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// spent is what is known of what an attempt has used.
type spent struct {
	meter openai.Meter
	free  atomic.Bool // its answer was there, or is made on another request's account
	told  bool
}

// events makes the attempt. What its provider sends is metered as it comes, whatever becomes of it.
func (t *attempt) events(ctx context.Context) iter.Seq2[llmgateway.Event, error] {
	if t.Cache != nil {
		ctx = llmgateway.WithTrace(ctx, t.spent.trace(llmgateway.ContextTrace(ctx)))
	}
	events := t.generate(ctx, &t.req)
	return func(yield func(llmgateway.Event, error) bool) {
		for event, err := range events {
			if err == nil {
				t.spent.meter.Observe(&event)
			}
			if !yield(event, err) {
				return
			}
		}
	}
}

// trace returns hooks that find out on whose account the attempt is.
func (s *spent) trace(outer *llmgateway.Trace) *llmgateway.Trace {
	hooks := *outer
	hooks.Cached = func(use llmgateway.CacheUse) {
		s.free.Store(use.Result == llmgateway.CacheHit || use.Result == llmgateway.CacheShared)
		if outer.Cached != nil {
			outer.Cached(use)
		}
	}
	hooks.Inherited = func() {
		s.free.Store(false) // otherwise whoever asks twice and leaves once would get it for nothing
		if outer.Inherited != nil {
			outer.Inherited()
		}
	}
	return &hooks
}

// lastWord returns the error that says most about what an attempt has used.
func lastWord(ctx context.Context, err error) error {
	if llmgateway.AsError(err).Used != nil {
		return err
	}
	return cause(ctx, err)
}

// outrun takes in that an attempt was given up for another that began earlier. It may be running still.
func (a *answer) outrun(t *attempt) {
	tell(a.trace.Outrun, t.after(nil))
	if !t.spent.told && a.trace.Spent != nil && !t.spent.free.Load() {
		a.trace.Spent(llmgateway.Spending{Attempt: t.after(errOutrun)})
	}
	t.spent.told = true
	a.run.spare(t.Target)
}

// account tells what an attempt has used, once. err is what it ended with, or nil. Nothing of the attempt may come at the same
// time.
func (a *answer) account(t *attempt, err error) {
	if t.spent.told {
		return
	}
	t.spent.told = true
	if a.trace.Spent == nil || t.spent.free.Load() {
		return
	}
	s := llmgateway.Spending{Attempt: t.after(err)}
	if err == nil || t.spent.meter.Began() {
		s.Used, s.Told = t.spent.meter.Used()
		a.trace.Spent(s)
		return
	}
	e := llmgateway.AsError(err)
	switch {
	case e.Used != nil:
		s.Used = *e.Used
		s.Told = s.Used.PromptTokens > 0
	case e.Kind != llmgateway.Canceled:
		return // it could not be asked, or it refused
	}
	givenUp := e.Kind == llmgateway.Canceled || e.Kind == llmgateway.Timeout
	s.Unseen = givenUp && s.Used == (llmgateway.Usage{}) && !t.streams(&t.req)
	a.trace.Spent(s)
}
