package route

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// word is a provider that says one word and costs nothing.
type word struct{ event llmgateway.Event }

func (w *word) Generate(context.Context, *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) { yield(w.event, nil) }
}

// BenchmarkRouter is what a request costs in the router when its first target answers.
func BenchmarkRouter(b *testing.B) {
	p := &word{event("hello")}
	r := &Router{Targets: []*Target{{Name: "a", Provider: p, Model: "m"}, {Name: "b", Provider: p, Model: "m"}}, Retries: -1}
	b.Run("plain", func(b *testing.B) { benchmark(b, r) })
	for _, t := range r.Targets {
		t.State = new(State)
	}
	b.Run("state", func(b *testing.B) { benchmark(b, r) })
	for _, t := range r.Targets {
		t.Breaker = &Breaker{Rest: time.Second, MaxFails: 1, MaxFailRate: 0.5, MinResults: 10, MaxRequests: 100}
	}
	b.Run("breaker", func(b *testing.B) { benchmark(b, r) })
}

func benchmark(b *testing.B, r *Router) {
	req := chat("m")
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range r.Generate(b.Context(), req) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
