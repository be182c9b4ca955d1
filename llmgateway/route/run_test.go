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

func TestRouterRetriesByConfiguredNumber(t *testing.T) {
	upstream := fails(llmgateway.Upstream)
	for retries, want := range map[int]string{
		-1: "a upstream, b upstream, c upstream",
		0:  "a upstream",
		1:  "a upstream, b upstream",
		2:  "a upstream, b upstream, c upstream",
		4:  "a upstream, b upstream, c upstream, a upstream, b upstream",
		7:  "a upstream, b upstream, c upstream, a upstream, b upstream, c upstream, a upstream, b upstream",
	} {
		synctest.Test(t, func(t *testing.T) {
			r := &Router{Targets: []*Target{named("a", does(upstream)), named("b", does(upstream)), named("c", does(upstream))}, Retries: retries, TryInterval: time.Second, chance: always(1)}
			ask(t.Context(), r, chat("m")).check(t, "", want, llmgateway.Upstream)
		})
	}
}

// TestRouterWaitsBeforeItAsksAgain measures pauses: none before another target, one before the same.
func TestRouterWaitsBeforeItAsksAgain(t *testing.T) {
	upstream := fails(llmgateway.Upstream)
	limited := func(after time.Duration) error {
		return &llmgateway.Error{Kind: llmgateway.RateLimited, RetryAfter: after, Message: "slow down"}
	}
	tests := []struct {
		name   string
		router Router
		a, b   *script
		text   string
		tried  string
		took   time.Duration
	}{
		{"another target", Router{Retries: 1}, does(upstream), does("b"), "b", "a upstream", 0},
		{"the same target", Router{Retries: 2}, does(upstream).then("a"), does(upstream), "a", "a upstream, b upstream", time.Second},
		{"three times", Router{Retries: 4}, does(upstream).then(upstream).then("a"), does(upstream), "a", "a upstream, b upstream, a upstream, b upstream", 3 * time.Second},
		{"many times", Router{Retries: 11}, does(upstream), does(fails(llmgateway.Denied)), "", "a upstream, b denied" + strings.Repeat(", a upstream", 10), (1 + 2 + 4 + 8 + 6*10) * time.Second},
		{"as long as it wants", Router{Retries: 2}, does(limited(4 * time.Second)).then("a"), does(limited(7 * time.Second)), "a", "a rate_limited, b rate_limited", 4 * time.Second},
		{"the other one is ready sooner", Router{Retries: 2}, does(limited(8 * time.Second)).then("a"), does(limited(2 * time.Second)).then("b"), "b", "a rate_limited, b rate_limited", 2 * time.Second},
		{"the one that wants nothing", Router{Retries: 2}, does(upstream).then("a"), does(limited(8 * time.Second)), "a", "a upstream, b rate_limited", time.Second},
		{"not the one that must wait", Router{Retries: 2}, does(limited(8 * time.Second)), does(upstream).then("b"), "b", "a rate_limited, b upstream", time.Second},
		{"too long a wait", Router{Retries: 2}, does(limited(time.Minute)), does(limited(time.Hour)), "", "a rate_limited, b rate_limited", 0},
		{"no longer than it may take", Router{Retries: 2, TryDuration: 3 * time.Second}, does(limited(4 * time.Second)), does(limited(5 * time.Second)), "", "a rate_limited, b rate_limited", 0},
		{"time that attempts took", Router{Retries: 3, TryDuration: 3 * time.Second}, does(2*time.Second, upstream), does(2*time.Second, upstream).then("b"), "", "a upstream, b upstream", 4 * time.Second},
		{"time for one more", Router{Retries: 5, TryDuration: 5 * time.Second}, does(2*time.Second, upstream), does(2*time.Second, upstream), "", "a upstream, b upstream, a upstream", 6 * time.Second},
		{"time for the second target", Router{Retries: 1, TryDuration: time.Second}, does(2*time.Second, upstream), does("b"), "", "a upstream", 2 * time.Second},
		{"a long first try is no retry", Router{Retries: 1, TryDuration: time.Second}, does(2*time.Second, "a"), does("b"), "a", "", 2 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := test.router
				r.TryInterval, r.chance = time.Second, always(1)
				r.Targets = []*Target{named("a", test.a), named("b", test.b)}
				got := ask(t.Context(), &r, chat("m"))
				kind := llmgateway.Kind("")
				if test.text == "" {
					kind = got.kind()
				}
				got.check(t, test.text, test.tried, kind)
				if test.text == "" && got.err == nil {
					t.Error("got no error")
				}
				if got.took != test.took {
					t.Errorf("took %v, want %v", got.took, test.took)
				}
			})
		})
	}
}

// always returns a chance that is none.
func always(f float64) func() float64 { return func() float64 { return f } }

// TestRouterAsksAgainByStatus: a wrong address or a body that is too large is there the next time, too.
func TestRouterAsksAgainByStatus(t *testing.T) {
	for status, want := range map[int]int{0: 2, 200: 2, 302: 1, 404: 1, 405: 1, 408: 2, 409: 2, 413: 1, 425: 2, 429: 2, 500: 2, 529: 2} {
		synctest.Test(t, func(t *testing.T) {
			a := does(&llmgateway.Error{Kind: llmgateway.Upstream, Status: status})
			ask(t.Context(), &Router{Targets: []*Target{named("a", a)}, Retries: 1}, chat("m"))
			if got := a.asked(); got != want {
				t.Errorf("%d: asked %d times, want %d", status, got, want)
			}
		})
	}
}

func TestPausesAreLeftToChance(t *testing.T) {
	upstream := fails(llmgateway.Upstream)
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			r := &Router{Retries: 5, TryInterval: time.Second, Targets: []*Target{named("a", does(upstream)), named("b", does(upstream))}}
			got := ask(t.Context(), r, chat("m"))
			got.check(t, "", "a upstream, b upstream, a upstream, b upstream, a upstream, b upstream", llmgateway.Upstream)
			if got.took <= 0 || got.took >= 3*time.Second {
				t.Errorf("took %v, want less than 3s", got.took)
			}
		})
	}
}

func TestRouterAsksAgainOnlyWhatMayHaveRecovered(t *testing.T) {
	for kind, again := range map[llmgateway.Kind]bool{
		llmgateway.RateLimited: true, llmgateway.Overloaded: true, llmgateway.Upstream: true,
		llmgateway.ContextLength: false, llmgateway.Unsupported: false, llmgateway.NoModel: false, llmgateway.Denied: false, llmgateway.Timeout: false,
	} {
		synctest.Test(t, func(t *testing.T) {
			p := does(fails(kind)).then("a")
			got := ask(t.Context(), &Router{Targets: []*Target{named("a", p)}, Retries: 3, TryInterval: time.Second}, chat("m"))
			if (got.text == "a") != again {
				t.Errorf("%s: asked %d times, want a second time: %t", kind, p.asked(), again)
			}
		})
	}
}

func TestRouterTellsHowLongToWaitIfAllAgree(t *testing.T) {
	limited := func(after time.Duration) *script {
		return does(&llmgateway.Error{Kind: llmgateway.RateLimited, RetryAfter: after})
	}
	got := ask(t.Context(), &Router{Targets: []*Target{named("a", limited(time.Minute)), named("b", limited(30*time.Second))}, Retries: -1}, chat("m"))
	if got.kind() != llmgateway.RateLimited || got.err.RetryAfter != 30*time.Second {
		t.Errorf("got %+v, want 30s", got.err)
	}
}

func TestRouterOffersThePolicyWhatWasNotTried(t *testing.T) {
	upstream := fails(llmgateway.Upstream)
	p := &lastPolicy{}
	r := &Router{Policy: p, Retries: 3, Targets: []*Target{named("a", does(upstream).then("a")), named("b", does(upstream)), named("c", does(fails(llmgateway.Denied)))}}
	ask(t.Context(), r, chat("m")).check(t, "", "c denied, b upstream, a upstream, b upstream", llmgateway.Upstream)
	if want := []string{"abc", "ab", "a", "ab"}; !slices.Equal(p.offered, want) {
		t.Errorf("offered %q, want %q", p.offered, want)
	}
}

// lastPolicy takes the last candidate and remembers what it was offered.
type lastPolicy struct{ offered []string }

func (p *lastPolicy) Select(candidates []*Target, _ *llmgateway.Request) *Target {
	names := ""
	for _, c := range candidates {
		names += c.Name
	}
	p.offered = append(p.offered, names)
	return candidates[len(candidates)-1]
}

func TestRouterStopsWaitingWhenTheClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		a := does(fails(llmgateway.Overloaded))
		got := ask(ctx, &Router{Targets: []*Target{named("a", a)}, Retries: 5, TryInterval: time.Minute, chance: always(1)}, chat("m"))
		got.check(t, "", "a overloaded", llmgateway.Canceled)
		if got.took != time.Second || a.asked() != 1 {
			t.Errorf("took %v, asked %d times", got.took, a.asked())
		}
	})
}
