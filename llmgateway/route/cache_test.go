package route

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/cache"
)

// What a fallback answered is kept as its answer: the first target is asked again when it is back.
func TestFallbacksAnswerIsNotKeptAsTheFirstTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := cache.NewMemory(1<<20, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		c := &cache.Cache{Store: store, Policy: cache.Policy{TTL: time.Hour, MaxAnswerBytes: 1 << 20}}
		near := does(fails(llmgateway.Upstream)).then(fails(llmgateway.Upstream)).then(ended("near"))
		far := does(ended("far"))
		first, second := named("near", near), named("far", far)
		first.Cache, second.Cache = c, c
		r := &Router{Targets: []*Target{first, second}, Retries: -1}
		for _, want := range []string{"far", "far", "near", "near"} {
			if got := ask(t.Context(), r, chat("m")); got.text != want || got.err != nil {
				t.Errorf("got %q, %v, want %q", got.text, got.err, want)
			}
			synctest.Wait() // until it is kept
		}
		if len(near.requests) != 3 || len(far.requests) != 1 {
			t.Errorf("near was asked %d times, far %d times; want 3 and 1", len(near.requests), len(far.requests))
		}
	})
}

// TestStreamWithoutAFinishIsNotKept: nobody knows whether it is whole.
func TestStreamWithoutAFinishIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := cache.NewMemory(1<<20, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		p := does("half").then(ended("whole"))
		target := named("p", p)
		target.Cache = &cache.Cache{Store: store, Policy: cache.Policy{TTL: time.Hour, MaxAnswerBytes: 1 << 20}}
		for _, want := range []string{"half", "whole", "whole"} {
			if got := ask(t.Context(), &Router{Targets: []*Target{target}}, chat("m")); got.text != want {
				t.Errorf("got %q, want %q", got.text, want)
			}
			synctest.Wait() // until it is kept
		}
		if p.asked() != 2 {
			t.Errorf("asked %d times", p.asked())
		}
	})
}
