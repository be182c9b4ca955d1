package route

import (
	"strings"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/cache"
)

// panics is a step of a script.
func panics(*llmgateway.Request) { panic("out of order") }

// A panic in a goroutine that belongs to no request would end the process.
func TestPanicOfAProviderIsItsFailureOnly(t *testing.T) {
	store, err := cache.NewMemory(1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	kept := &cache.Cache{Store: store, Policy: cache.Policy{TTL: time.Hour, MaxAnswerBytes: 1 << 20}}
	a, b := named("a", does(panics)), named("b", does("b", finish))
	a.Cache, b.Cache = kept, kept
	got := ask(t.Context(), &Router{Targets: []*Target{a, b}, Retries: -1}, chat("m"))
	if got.by != "b" || strings.Join(got.tried, ",") != "a upstream" || got.err != nil {
		t.Errorf("got an answer by %q, tried %q, error %v", got.by, got.tried, got.err)
	}
	a.Provider = does("a", panics)
	got = ask(t.Context(), &Router{Targets: []*Target{a, b}, Retries: -1}, chat("m"))
	if got.by != "a" || got.text != "a" || got.err == nil || got.err.Kind != llmgateway.Upstream || strings.Contains(got.err.Message, "order") {
		t.Errorf("got %q by %q, error %v", got.text, got.by, got.err)
	}

	copies := make(chan Copy, 1)
	m := &Mirror{Target: named("test", does(panics)), Share: 1, Most: 1, Report: func(c Copy) { copies <- c }}
	defer m.Close()
	for _, err := range m.watch(chat("m"), (&Router{Targets: []*Target{named("b", does("b", finish))}}).Generate(t.Context(), chat("m"))) {
		if err != nil {
			t.Error(err)
		}
	}
	if c := <-copies; c.Err == nil || !strings.Contains(c.Err.Error(), "out of order") {
		t.Errorf("the copy ended with %v", c.Err)
	}
}

// It goes on to whoever runs the loop.
func TestWhatTheLoopPanicsWithIsNotCaught(t *testing.T) {
	defer func() {
		if fear := recover(); fear != "mine" {
			t.Errorf("got %v", fear)
		}
	}()
	for _, err := range unpanicked(does("a").Generate(t.Context(), chat("m"))) {
		if err == nil {
			panic("mine")
		}
	}
}
