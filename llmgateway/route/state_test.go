package route

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// TestConfigurationsShareAState has two targets that are one in truth, with thresholds of their own.
func TestConfigurationsShareAState(t *testing.T) {
	upstream := fails(llmgateway.Upstream)
	strict := guarded("strict", does(upstream), Breaker{Rest: time.Hour, MaxFails: 1}, nil)
	mild := guarded("mild", does(upstream), Breaker{Rest: time.Hour, MaxFails: 3}, nil)
	free := named("free", does("x"))
	mild.State, free.State = strict.State, strict.State
	ask(t.Context(), &Router{Targets: []*Target{mild}}, chat("m"))
	ask(t.Context(), &Router{Targets: []*Target{mild}}, chat("m"))
	if !strict.Condition().Down || mild.Condition().Down {
		t.Errorf("after 2 failures: strict %+v, mild %+v", strict.Condition(), mild.Condition())
	}
	ask(t.Context(), &Router{Targets: []*Target{strict}}, chat("m"))
	if !mild.Condition().Down || free.Condition().Down {
		t.Errorf("after 3 failures: mild %+v, free %+v", mild.Condition(), free.Condition())
	}
	ask(t.Context(), &Router{Targets: []*Target{free}}, chat("m")).check(t, "x", "", "")
}

func TestWhatBeganBeforeAFailureDoesNotBringUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := does("a", 5*second, "b").then(4*second, "a").then(fails(llmgateway.Upstream)).then("a")
		a := guarded("a", p, Breaker{Rest: second, MaxFails: 1}, nil)
		r := &Router{Targets: []*Target{a, named("b", does("b"))}, Retries: -1}
		done := make(chan outcome)
		for range 2 {
			go func() { done <- ask(t.Context(), r, chat("m")) }()
			synctest.Wait()
		}
		time.Sleep(second)
		ask(t.Context(), r, chat("m")).check(t, "b", "a upstream", "")
		<-done
		<-done
		if !a.Condition().Down {
			t.Error("answers that began before the failure have brought it up")
		}
		ask(t.Context(), r, chat("m")).check(t, "a", "", "")
		if a.Condition().Down {
			t.Error("it is down")
		}
		idle(t, a)
	})
}

func TestAFailureNeverBringsUp(t *testing.T) {
	var log []string
	upstream := fails(llmgateway.Upstream)
	strict := guarded("strict", does(upstream), Breaker{Rest: time.Hour, MaxFails: 1}, &log)
	mild := guarded("mild", does(upstream), Breaker{Rest: time.Hour, MaxFails: 9}, &log)
	mild.State = strict.State
	ask(t.Context(), &Router{Targets: []*Target{strict}}, chat("m"))
	ask(t.Context(), &Router{Targets: []*Target{mild}}, chat("m"))
	if want := []string{"strict down: it is upstream"}; !slices.Equal(log, want) {
		t.Errorf("got %q, want %q", log, want)
	}
}

// TestEndOfAnOldProbeLeavesTheNewOne has a probe succeed and go on for long, while the target fails again.
func TestEndOfAnOldProbeLeavesTheNewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		upstream := fails(llmgateway.Upstream)
		p := does(upstream).then("a", 5*second, "b").then(upstream).then(time.Hour)
		a := guarded("a", p, Breaker{Rest: second, MaxFails: 1}, nil)
		r := &Router{Targets: []*Target{a, named("b", does("b"))}, Retries: -1}
		ask(t.Context(), r, chat("m"))
		time.Sleep(second)
		ctx, cancel := context.WithCancel(t.Context())
		for range 3 { // the probe, a failure, and another probe
			go ask(ctx, r, chat("m"))
			synctest.Wait()
			time.Sleep(second)
		}
		time.Sleep(5 * second) // the first probe has ended
		ask(t.Context(), r, chat("m")).check(t, "b", "", "")
		if p.asked() != 4 {
			t.Errorf("asked %d times, want 4", p.asked())
		}
		if c, ok := a.enter(true); !ok || c.probe != 0 {
			t.Errorf("who comes anyway is no probe: got %+v, %t", c, ok)
		} else {
			c.leave()
		}
		cancel()
		synctest.Wait()
		idle(t, a)
	})
}

func TestALongerRestIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limited := func(after time.Duration) error {
			return &llmgateway.Error{Kind: llmgateway.RateLimited, Status: 429, RetryAfter: after}
		}
		a := guarded("a", does(limited(30*second)).then(limited(5*second)).then(limited(40*second)), Breaker{Rest: second, MaxFails: 1}, nil)
		for _, want := range []time.Duration{30 * second, 30 * second, 40 * second} {
			ask(t.Context(), &Router{Targets: []*Target{a}}, chat("m"))
			if got := time.Until(a.Condition().Until); got != want {
				t.Errorf("rests for %v, want %v", got, want)
			}
		}
	})
}

func TestRequestsBeforeAFailureAreNoProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := guarded("a", does("a", time.Minute, "b").then(fails(llmgateway.Upstream)).then("x"), Breaker{Rest: second, MaxFails: 1}, nil)
		r := &Router{Targets: []*Target{a, named("b", does("b"))}, Retries: -1}
		go ask(t.Context(), r, chat("m"))
		synctest.Wait()
		ask(t.Context(), r, chat("m")).check(t, "b", "a upstream", "")
		time.Sleep(second)
		ask(t.Context(), r, chat("m")).check(t, "x", "", "")
		time.Sleep(time.Hour)
		idle(t, a)
	})
}
