package route

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// wish is a model that a client wants to be asked, and the request for it.
type wish struct {
	name   string // as the client wrote it
	router *Router
	req    *llmgateway.Request
}

// wishes returns what a client wants to be asked, one model after the other. A list of models that the client sent is taken out of
// the requests, unless all its names are for providers that know such lists and for nobody else.
func (t *Table) wishes(req *llmgateway.Request) ([]wish, error) {
	names, err := openai.Models(req)
	if err != nil {
		return nil, err
	}
	wishes := make([]wish, 0, len(names))
	for i, name := range names {
		one := *req
		one.Model = name
		router, resolved, err := t.resolve(&one)
		if err != nil {
			if e := llmgateway.AsError(err); i > 0 && e.Param == "model" {
				e.Param = "models"
			}
			return nil, err
		}
		known := slices.ContainsFunc(wishes, func(w wish) bool { // by another name
			return w.router == router && w.req.Model == resolved.Model && w.req.Provider == resolved.Provider
		})
		if !known {
			wishes = append(wishes, wish{name, router, resolved})
		}
	}
	if _, listed := req.Lookup("models"); !listed {
		return wishes, nil
	}
	if t.passesList(wishes) {
		return wishes[:1], nil
	}
	for _, w := range wishes {
		w.req.Edits = append(slices.Clip(w.req.Edits), llmgateway.Edit{Name: "models"})
	}
	return wishes, nil
}

// generate answers with the model.
func (w wish) generate(ctx context.Context, t *Table) iter.Seq2[llmgateway.Event, error] {
	return w.router.Mirror.watch(w.req, w.router.generate(ctx, w.req, t))
}

// passesList reports whether all wishes are for one entry that takes any name, and whose targets take the list as it is.
func (t *Table) passesList(wishes []wish) bool {
	for _, w := range wishes {
		m := t.find(w.name)
		if w.router != wishes[0].router || m.prefix != "" || !strings.HasSuffix(m.name, "*") {
			return false
		}
	}
	return !slices.ContainsFunc(wishes[0].router.Targets, func(t *Target) bool {
		return (wishes[0].req.Provider == "" || t.Name == wishes[0].req.Provider) && (!t.TakesModels || t.Model != "")
	})
}

// inOrder answers with the first model that can.
func (t *Table) inOrder(ctx context.Context, wishes []wish) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		if timeout := wishes[0].router.Timeout; timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, timeout, late("no whole answer", timeout))
			defer cancel()
		}
		numbering := numbering{trace: llmgateway.ContextTrace(ctx)}
		ctx = llmgateway.WithTrace(ctx, numbering.hooks())
		var failed []*llmgateway.Error
		for i, w := range wishes {
			numbering.before = numbering.last
			err := untilBegun(w.generate(ctx, t), yield)
			if err == nil {
				return
			}
			failed = append(failed, err)
			if k := err.Kind; k == llmgateway.InvalidRequest || k == llmgateway.ContentFilter || k == llmgateway.Canceled {
				yield(llmgateway.Event{}, err)
				return
			}
			if i == len(wishes)-1 || ctx.Err() != nil {
				yield(llmgateway.Event{}, ofAll(wishes, failed))
				return
			}
		}
	}
}

// untilBegun passes an answer on. It returns the error of one that fails before its first event, which it does not pass on.
func untilBegun(events iter.Seq2[llmgateway.Event, error], yield func(llmgateway.Event, error) bool) *llmgateway.Error {
	begun := false
	for event, err := range events {
		if err != nil && !begun {
			return llmgateway.AsError(err)
		}
		begun = true
		if !yield(event, err) {
			return nil
		}
	}
	return nil
}

// ofAll makes one error of those of several models, of the kind that all of them have.
func ofAll(wishes []wish, failed []*llmgateway.Error) error {
	if len(failed) == 1 {
		return failed[0]
	}
	all := llmgateway.Error{Kind: failed[0].Kind, RetryAfter: failed[0].RetryAfter}
	reasons, causes := make([]string, len(failed)), make([]error, len(failed))
	for i, err := range failed {
		if err.Kind != all.Kind {
			all.Kind = llmgateway.Upstream
		}
		all.RetryAfter = min(all.RetryAfter, err.RetryAfter)
		reasons[i], causes[i] = shown(wishes[i].name)+": "+err.Message, err
	}
	all.Message = "every model failed: " + strings.Join(reasons, "; ")
	all.Err = errors.Join(causes...)
	return &all
}

// numbering counts the attempts of several models on.
type numbering struct {
	trace        *llmgateway.Trace
	before, last int // how many attempts there were before this model, and so far
}

// hooks returns a trace that hands on what it is told with the attempts' numbers counted on.
func (n *numbering) hooks() *llmgateway.Trace {
	hooks := *n.trace
	for _, hook := range []*func(llmgateway.Attempt){&hooks.Tried, &hooks.Answering, &hooks.Broke, &hooks.Resumed, &hooks.Outrun} {
		next := *hook
		*hook = func(a llmgateway.Attempt) {
			a.Number += n.before
			n.last = max(n.last, a.Number)
			if next != nil {
				next(a)
			}
		}
	}
	if spent := hooks.Spent; spent != nil {
		hooks.Spent = func(s llmgateway.Spending) {
			s.Attempt.Number += n.before
			spent(s)
		}
	}
	return &hooks
}
