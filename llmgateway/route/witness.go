package route

import (
	"context"
	"iter"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// witness sees what becomes of one attempt at a target, and tells its State. An attempt that the cache answers has none, and one
// that several requests share has one.
type witness struct {
	*Target
	stream bool
	first  bool // it is the first attempt for its request
	began  time.Time
	heard  bool // something came
	slow   bool // and that late
}

// pass passes an attempt's events on and looks at them.
func (w witness) pass(ctx context.Context, events iter.Seq2[llmgateway.Event, error]) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		w := w // each loop over the events is an attempt
		w.began = time.Now()
		for event, err := range events {
			if err != nil {
				w.broke(ctx, err)
				yield(event, err)
				return
			}
			if event.Carries {
				w.answers()
			}
			if !yield(event, nil) {
				return // the client left, which says nothing
			}
		}
		w.ended()
	}
}

// answers is called for every event that carries something.
func (w *witness) answers() {
	if w.heard {
		return
	}
	w.heard = true
	took := time.Since(w.began)
	w.State.took(took, w.stream, false)
	b := w.Breaker
	switch {
	case b == nil:
	case b.Latency > 0 && w.stream && took > b.Latency:
		w.slow = true
		w.failed(&llmgateway.Error{Kind: llmgateway.Timeout, Message: "its first token took " + took.Round(time.Millisecond).String()})
	default:
		w.State.heard(w.Target, w.began)
	}
}

// broke is called when the attempt ended with an error.
func (w *witness) broke(ctx context.Context, err error) {
	e := llmgateway.AsError(err)
	if ctx.Err() != nil {
		e = llmgateway.AsError(context.Cause(ctx))
		// The time of all tries together has passed, or the client left. Silence is only the fault of who had all of that time.
		if e.Kind != llmgateway.Timeout || w.heard || !w.first {
			return
		}
	}
	w.failed(e)
}

// failed takes in a failure, if it is one of the target's.
func (w *witness) failed(e *llmgateway.Error) {
	b := w.Breaker
	if b == nil {
		b = new(Breaker)
	}
	if !b.counts(e) {
		return
	}
	if !w.heard {
		w.State.took(time.Since(w.began), w.stream, true)
	}
	if w.Breaker != nil {
		w.State.failed(w.Target, e)
	}
}

// ended is called when the attempt ended without an error.
func (w *witness) ended() {
	switch {
	case !w.heard:
		w.failed(&llmgateway.Error{Kind: llmgateway.Upstream, Message: "the provider ended without an answer"})
	case w.Breaker != nil && !w.slow:
		w.State.succeeded(w.Target)
	}
}
