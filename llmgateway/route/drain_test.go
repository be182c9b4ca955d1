package route

import (
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestDrainedTargetGetsNoNewRequest(t *testing.T) {
	var drain Drain
	first, second := does("one").then("one"), does("two").then("two")
	router := &Router{Targets: []*Target{{Name: "first", Provider: first, Drain: &drain}, named("second", second)}, Retries: -1}
	ask(t.Context(), router, chat("m")).check(t, "one", "", "")
	drain.Begin()
	since := drain.Since()
	drain.Begin() // which changes nothing
	if since.IsZero() || drain.Since() != since {
		t.Errorf("since %v, then %v", since, drain.Since())
	}
	ask(t.Context(), router, chat("m")).check(t, "two", "", "")
	drain.End()
	ask(t.Context(), router, chat("m")).check(t, "one", "", "")
	if first.asked() != 2 || second.asked() != 1 {
		t.Errorf("the first was asked %d times, the second %d", first.asked(), second.asked())
	}
}

func TestDrainLetsRunningRequestsFinish(t *testing.T) {
	var drain Drain
	router := &Router{Targets: []*Target{{Name: "only", Provider: does("a", func(*llmgateway.Request) { drain.Begin() }, "b"), Drain: &drain}}}
	ask(t.Context(), router, chat("m")).check(t, "a b", "", "")
	got := ask(t.Context(), router, chat("m"))
	if got.kind() != llmgateway.Overloaded || !strings.Contains(got.err.Message, "only: drained") {
		t.Errorf("got %v", got.err)
	}
}
