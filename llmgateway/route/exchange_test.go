package route

import (
	"context"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/cache"
)

// twice is an exchange that asks each target again that refuses.
type twice struct {
	name     string
	asked    []llmgateway.Destination
	attempts atomic.Int64
}

func (x *twice) Answer(ctx context.Context, req *llmgateway.Request, ask llmgateway.Generate) iter.Seq2[llmgateway.Event, error] {
	return ask(ctx, req)
}

func (x *twice) Attempt(ctx context.Context, to llmgateway.Destination, req *llmgateway.Request, ask llmgateway.Generate) iter.Seq2[llmgateway.Event, error] {
	x.attempts.Add(1)
	x.asked = append(x.asked, to)
	return func(yield func(llmgateway.Event, error) bool) {
		refused := false
		for event, err := range ask(ctx, req) {
			if refused = err != nil; refused {
				break
			}
			if !yield(event, nil) {
				return
			}
		}
		if refused {
			ask(ctx, req)(yield)
		}
	}
}

func (x *twice) Identity() string { return x.name }

// An exchange stands between the router and each target that is asked, and knows its limits. The next target is asked when it
// gives up.
func TestAttemptsGoThroughTheExchange(t *testing.T) {
	small, large := does(fails(llmgateway.InvalidRequest)).then(fails(llmgateway.ContextLength)), does(fails(llmgateway.Upstream)).then("yes")
	first, second := named("small", small), named("large", large)
	first.Context, second.Context = 1000, 2000
	x := &twice{}
	req := chat("m")
	req.Exchange = x
	var answering llmgateway.Attempt
	ctx := llmgateway.WithTrace(t.Context(), &llmgateway.Trace{Answering: func(a llmgateway.Attempt) { answering = a }})
	events := 0
	for _, err := range (&Router{Targets: []*Target{first, second}, Retries: -1}).Generate(ctx, req) {
		if events++; err != nil {
			t.Error(err)
		}
	}
	if events != 1 {
		t.Errorf("got %d events, want 1", events)
	}
	if len(small.requests) != 2 || len(large.requests) != 2 || len(x.asked) != 2 || x.asked[0].Limits.Context != 1000 || x.asked[1].Provider != "large" {
		t.Errorf("asked %d and %d times, %+v", len(small.requests), len(large.requests), x.asked)
	}
	if answering.Context != 2000 {
		t.Errorf("the trace tells a context of %d, want 2000", answering.Context)
	}
}

// Answers that were adapted are kept apart from those that were not, and need not be adapted again.
func TestAdaptedAnswersAreKeptApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := cache.NewMemory(1<<20, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		p := does(ended("answer"))
		target := named("p", p)
		target.Cache = &cache.Cache{Store: store, Policy: cache.Policy{TTL: time.Hour, MaxAnswerBytes: 1 << 20}}
		r := &Router{Targets: []*Target{target}}
		one, other := &twice{name: "one"}, &twice{name: "other"}
		for _, x := range []*twice{one, one, nil, nil, other} {
			req := chat("m")
			if x != nil {
				req.Exchange = x
			}
			if got := ask(t.Context(), r, req); got.text != "answer" || got.err != nil {
				t.Errorf("got %q, %v", got.text, got.err)
			}
			synctest.Wait() // until it is kept
		}
		if len(p.requests) != 3 || one.attempts.Load() != 1 || other.attempts.Load() != 1 {
			t.Errorf("the provider was asked %d times, want 3; there were %d and %d attempts", len(p.requests), one.attempts.Load(), other.attempts.Load())
		}
	})
}
