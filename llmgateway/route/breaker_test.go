package route

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// guarded makes a target with a breaker, whose changes are appended to log if it is not nil.
func guarded(name string, p llmgateway.Provider, b Breaker, log *[]string) *Target {
	if log != nil {
		b.Changed = func(t *Target, c Condition) {
			if c.Down {
				*log = append(*log, t.Name+" down: "+c.Reason)
			} else {
				*log = append(*log, t.Name+" up")
			}
		}
	}
	return &Target{Name: name, Provider: p, State: new(State), Breaker: &b}
}

// idle fails the test unless the targets have no requests, and nobody probes them.
func idle(t *testing.T, targets ...*Target) {
	t.Helper()
	for _, target := range targets {
		if n := target.State.InFlight(); n != 0 || target.State.probe != 0 {
			t.Errorf("%s has %d requests, probe %d", target.Name, n, target.State.probe)
		}
	}
}

func TestTargetThatFailsRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []string
		upstream := fails(llmgateway.Upstream)
		p := does(upstream).then(upstream).then(upstream).then("a")
		a := guarded("a", p, Breaker{Rest: 10 * second, MaxFails: 2}, &log)
		r := &Router{Targets: []*Target{a, named("b", does("b"))}, Retries: -1}
		for i, step := range []struct {
			wait        time.Duration
			text, tried string
		}{
			{0, "b", "a upstream"},
			{0, "b", "a upstream"}, // down
			{0, "b", ""},
			{9 * second, "b", ""},
			{second, "b", "a upstream"}, // down again, by a probe
			{9 * second, "b", ""},
			{second, "a", ""}, // up
			{0, "a", ""},
		} {
			time.Sleep(step.wait)
			got := ask(t.Context(), r, chat("m"))
			if got.text != step.text || strings.Join(got.tried, ", ") != step.tried {
				t.Errorf("request %d: got %q, tried %q; want %q, %q", i+1, got.text, got.tried, step.text, step.tried)
			}
		}
		if want := []string{"a down: 2 failures in a row, at last: it is upstream", "a up"}; !slices.Equal(log, want) {
			t.Errorf("got %q, want %q", log, want)
		}
		idle(t, a)
	})
}

func TestSuccessEndsARowOfFailures(t *testing.T) {
	upstream := fails(llmgateway.Upstream)
	p := does(upstream).then("a").then(upstream).then("a").then(upstream).then(upstream)
	a := guarded("a", p, Breaker{Rest: time.Hour, MaxFails: 2}, nil)
	r := &Router{Targets: []*Target{a, named("b", does("b"))}, Retries: -1}
	var texts []string
	for range 8 {
		texts = append(texts, ask(t.Context(), r, chat("m")).text)
	}
	if got, want := strings.Join(texts, ""), "bababbbb"; got != want || p.asked() != 6 {
		t.Errorf("got %q after asking %d times, want %q after 6", got, p.asked(), want)
	}
}

func TestOneRequestProbesATargetThatRested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := does(fails(llmgateway.Upstream)).then(5*second, "a", 20*second, "!")
		a := guarded("a", p, Breaker{Rest: 10 * second, MaxFails: 1}, nil)
		r := &Router{Targets: []*Target{a, named("b", does("b"))}, Retries: -1}
		ask(t.Context(), r, chat("m"))
		time.Sleep(10 * second)
		probe := make(chan outcome)
		go func() { probe <- ask(t.Context(), r, chat("m")) }()
		synctest.Wait()
		for range 3 {
			ask(t.Context(), r, chat("m")).check(t, "b", "", "")
		}
		if p.asked() != 2 {
			t.Errorf("asked %d times, want one probe", p.asked())
		}
		time.Sleep(6 * second) // it has begun to answer, which shows that it is up
		ask(t.Context(), r, chat("m")).check(t, "a !", "", "")
		(<-probe).check(t, "a !", "", "")
		idle(t, a)
	})
}

// TestProbeThatTellsNothingLeavesRoomForAnother has probes end without an answer of the target.
func TestProbeThatTellsNothingLeavesRoomForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := does(fails(llmgateway.Upstream)).then(fails(llmgateway.InvalidRequest)).then(time.Hour).then("~role", time.Hour).then("a")
		a := guarded("a", p, Breaker{Rest: second, MaxFails: 1}, nil)
		r := &Router{Targets: []*Target{a, named("b", does("b"))}, Retries: -1}
		ask(t.Context(), r, chat("m"))
		time.Sleep(second)
		ask(t.Context(), r, chat("m")).check(t, "", "a invalid_request", llmgateway.InvalidRequest)
		for range 2 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(second, cancel)
			ask(ctx, r, chat("m")).check(t, "", "a canceled", llmgateway.Canceled)
			if !a.Condition().Down {
				t.Error("it is up, but has not answered")
			}
		}
		ask(t.Context(), r, chat("m")).check(t, "a", "", "")
		idle(t, a)
	})
}

func TestTargetThatAsksForRestGetsIt(t *testing.T) {
	limited := func(after time.Duration) error {
		return &llmgateway.Error{Kind: llmgateway.RateLimited, Status: 429, RetryAfter: after, Message: "slow down"}
	}
	for asked, want := range map[time.Duration]time.Duration{
		2 * second: 2 * second, 30 * second: 30 * second, 5 * time.Minute: 5 * time.Minute, time.Hour: 5 * time.Minute, 24 * 365 * time.Hour: 5 * time.Minute,
	} {
		synctest.Test(t, func(t *testing.T) {
			a := guarded("a", does(limited(asked)).then(fails(llmgateway.Upstream)).then("a"), Breaker{Rest: 10 * second, MaxFails: 5}, nil)
			r := &Router{Targets: []*Target{a, named("b", does("b"))}, Retries: -1}
			ask(t.Context(), r, chat("m")).check(t, "b", "a rate_limited", "")
			if c := a.Condition(); !c.Down || c.Reason != "left alone after: slow down" || c.Until != time.Now().Add(want) {
				t.Errorf("asked for %v: got %+v", asked, c)
			}
			time.Sleep(want - 1)
			ask(t.Context(), r, chat("m")).check(t, "b", "", "")
			time.Sleep(time.Nanosecond)
			ask(t.Context(), r, chat("m")).check(t, "b", "a upstream", "") // the probe
			time.Sleep(10*second - 1)
			ask(t.Context(), r, chat("m")).check(t, "b", "", "")
			time.Sleep(time.Nanosecond)
			ask(t.Context(), r, chat("m")).check(t, "a", "", "")
		})
	}
}

func TestWhenAllAreDownTheFirstToRecoverIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limited := func(after time.Duration) error {
			return &llmgateway.Error{Kind: llmgateway.RateLimited, Status: 429, RetryAfter: after}
		}
		b := Breaker{Rest: time.Minute, MaxFails: 1}
		targets := []*Target{
			guarded("a", does(limited(30*second)), b, nil),
			guarded("b", does(limited(20*second)).then("b"), b, nil),
			guarded("c", does(fails(llmgateway.Upstream)), b, nil),
		}
		r := &Router{Targets: targets, Retries: -1}
		ask(t.Context(), r, chat("m")).check(t, "", "a rate_limited, b rate_limited, c upstream", llmgateway.Upstream)
		r.Retries = 0
		ask(t.Context(), r, chat("m")).check(t, "b", "", "") // though it rests
		ask(t.Context(), r, chat("m")).check(t, "b", "", "") // it is up
		idle(t, targets...)
	})
}

func TestTargetThatOftenFailsRests(t *testing.T) {
	for _, test := range []struct {
		name    string
		results string // of one request a second; x is a failure
		down    bool
	}{
		{"half of them", ".x.x.x.x.x", true},
		{"fewer than half", ".x.x.x..x.x.", false},
		{"not enough to say", "xxxxxxxxx", false},
		{"all", "xxxxxxxxxx", true},
		{"a long time ago", "xxxxxxxxx" + strings.Repeat(".", 70) + "x", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &script{}
				for _, c := range test.results {
					if c == 'x' {
						p.then(fails(llmgateway.Upstream))
					} else {
						p.then("a")
					}
				}
				p.then("a")
				var log []string
				a := guarded("a", p, Breaker{Rest: 10 * second, MaxFailRate: 0.5, MinResults: 10}, &log)
				r := &Router{Targets: []*Target{a, named("b", does("b"))}, Retries: -1}
				for range test.results {
					ask(t.Context(), r, chat("m"))
					if len(log) == 0 {
						time.Sleep(second)
					}
				}
				if c := a.Condition(); c.Down != test.down || c.Down && !strings.Contains(c.Reason, "% of 10 requests failed within a minute") {
					t.Errorf("got %+v, want down: %t", c, test.down)
				}
				if !test.down {
					return
				}
				time.Sleep(10 * second)
				ask(t.Context(), r, chat("m")).check(t, "a", "", "")
				if len(log) != 2 || a.Condition().Down {
					t.Errorf("it has recovered: got %q", log)
				}
			})
		})
	}
}

func TestTargetHasNoMoreRequestsThanItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := does(second, "a")
		a := guarded("a", p, Breaker{MaxRequests: 2}, nil)
		r := &Router{Targets: []*Target{a, named("b", does(second, "b"))}, Retries: -1}
		answers := make(chan outcome)
		for range 5 {
			go func() { answers <- ask(t.Context(), r, chat("m")) }()
		}
		var texts []string
		for range 5 {
			texts = append(texts, (<-answers).text)
		}
		slices.Sort(texts)
		if got := strings.Join(texts, ""); got != "aabbb" || p.asked() != 2 {
			t.Errorf("got %q, want aabbb", got)
		}

		r.Targets = r.Targets[:1]
		for range 2 {
			go func() { answers <- ask(t.Context(), r, chat("m")) }()
		}
		synctest.Wait()
		got := ask(t.Context(), r, chat("m"))
		got.check(t, "", "", llmgateway.Overloaded)
		if want := "a: it has 2 requests, which is all that it may have at once"; got.err.Message != want {
			t.Errorf("got %q, want %q", got.err.Message, want)
		}
		<-answers
		<-answers
		idle(t, a)
	})
}

func TestHealthCheckTakesDownAndBringsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []string
		p := does("a")
		a := guarded("a", p, Breaker{CheckInterval: second}, &log)
		r := &Router{Targets: []*Target{a, named("b", does("b"))}, Retries: -1}
		a.State.Checked(a, nil)
		ask(t.Context(), r, chat("m")).check(t, "a", "", "")
		for range 2 {
			a.State.Checked(a, &llmgateway.Error{Kind: llmgateway.Upstream, Message: "connection refused"})
		}
		ask(t.Context(), r, chat("m")).check(t, "b", "", "")
		time.Sleep(time.Minute) // no news are no good news
		ask(t.Context(), r, chat("m")).check(t, "b", "", "")
		ask(t.Context(), &Router{Targets: []*Target{a}}, chat("m")).check(t, "a", "", "") // nobody else is left
		if !a.Condition().Down {
			t.Error("only a check brings up what a check took down")
		}
		a.State.Checked(a, nil)
		ask(t.Context(), r, chat("m")).check(t, "a", "", "")
		if want := []string{"a down: health check: connection refused", "a up"}; !slices.Equal(log, want) {
			t.Errorf("got %q, want %q", log, want)
		}
	})
}
