package route

import (
	"context"
	"errors"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// resume lets a target finish an answer that broke. It is asked for the same from the start, and what the client has is left
// out. If it says something else, it is asked to go on, if it can. done is true if there is nothing left to do.
func (a *answer) resume(ctx context.Context, t *attempt) (done bool) {
	begun, err := a.finish(ctx, t, false)
	if errors.Is(err, openai.ErrDiverged) {
		if ctx, again, ok := a.goOn(ctx, t); ok {
			if begun, err = a.finish(ctx, again, true); err != nil {
				err = ofContinuation(err)
			}
		}
	}
	switch {
	case err == nil:
		return true
	case !begun:
		a.failed(t, err)
		return false
	case !a.transcript.CanResume():
		a.yield(llmgateway.Event{}, err)
		return true
	}
	tell(a.trace.Broke, t.after(err))
	a.run.failed(t.Target, llmgateway.AsError(err))
	return false
}

// ofContinuation returns the error of a request that is not the client's own: what is wrong with it says nothing of that.
func ofContinuation(err error) error {
	e := llmgateway.AsError(err)
	if e.Kind != llmgateway.InvalidRequest {
		return err
	}
	return &llmgateway.Error{Kind: llmgateway.Unsupported, Message: "it does not go on with an answer", Err: err}
}

// goOn makes an attempt that asks the target of another one to go on. ok is false if it cannot.
func (a *answer) goOn(ctx context.Context, t *attempt) (_ context.Context, next *attempt, ok bool) {
	p := t.provider(a.run.req.Model)
	if p == nil || t.limits(p).Can&llmgateway.CanPrefill == 0 {
		return ctx, nil, false
	}
	req, ok := a.transcript.Continuation()
	if !ok {
		return ctx, nil, false
	}
	target, ok := t.enter(true)
	if !ok {
		return ctx, nil, false
	}
	ctx, next = a.begin(ctx, target)
	next.req = *req
	next.req.Model = next.info.Model
	// What is kept are answers to the client's request.
	next.req.Cache.NoCache, next.req.Cache.NoStore = true, true
	return ctx, next, true
}

// finish passes on what a target adds to the answer.
func (a *answer) finish(ctx context.Context, t *attempt, continued bool) (begun bool, err error) {
	resumed := func() { tell(a.trace.Resumed, t.after(nil)) }
	return a.pass(ctx, t, resumed, a.transcript.Rejoin(t.events(ctx), continued))
}

// notResumed returns the error for an answer that broke and that nobody could finish.
func (a *answer) notResumed(ctx context.Context) error {
	if ctx.Err() != nil {
		if e := llmgateway.AsError(context.Cause(ctx)); e.Kind == llmgateway.Canceled {
			return e
		}
	}
	err := *a.broke
	for i, f := range a.run.failures[min(a.before+1, len(a.run.failures)):] {
		if i == 0 {
			err.Message += "; nobody could finish the answer"
		}
		err.Message += "; " + f.target.Name + ": " + f.err.Message
	}
	return &err
}
