package route

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/cache"
)

func TestWhatIsNotTheTargetsFaultDoesNotCount(t *testing.T) {
	status := func(kind llmgateway.Kind, status int) error {
		return &llmgateway.Error{Kind: kind, Status: status, Message: "HTTP " + fmt.Sprint(status)}
	}
	for _, test := range []struct {
		name     string
		err      error
		statuses []int
		down     bool
	}{
		{"a lost connection", fails(llmgateway.Upstream), nil, true},
		{"an error of its own kind", errors.New("boom"), nil, true},
		{"500", status(llmgateway.Upstream, 500), nil, true},
		{"503", status(llmgateway.Overloaded, 503), nil, true},
		{"529", status(llmgateway.Overloaded, 529), nil, true},
		{"504", status(llmgateway.Timeout, 504), nil, true},
		{"408", status(llmgateway.Timeout, 408), nil, true},
		{"429", status(llmgateway.RateLimited, 429), nil, true},
		{"a rate limit within an answer", fails(llmgateway.RateLimited), nil, true},
		{"401", status(llmgateway.Denied, 401), nil, true},
		{"402", status(llmgateway.Denied, 402), nil, true},
		{"403", status(llmgateway.Denied, 403), nil, false},
		{"404", status(llmgateway.Upstream, 404), nil, false},
		{"413", status(llmgateway.Upstream, 413), nil, false},
		{"200 with another type", status(llmgateway.Upstream, 200), nil, true},
		{"501", status(llmgateway.Unsupported, 501), nil, false},
		{"400", status(llmgateway.InvalidRequest, 400), nil, false},
		{"too long", status(llmgateway.ContextLength, 500), nil, false},
		{"refused content", status(llmgateway.ContentFilter, 403), nil, false},
		{"unsupported", fails(llmgateway.Unsupported), nil, false},
		{"no such model", fails(llmgateway.NoModel), nil, false},
		{"a full queue of ours", fails(llmgateway.Overloaded), nil, false},
		{"429, which does not count", status(llmgateway.RateLimited, 429), []int{5}, false},
		{"a rate limit within an answer, which does not count", fails(llmgateway.RateLimited), []int{5}, false},
		{"404, which counts", status(llmgateway.Upstream, 404), []int{404}, true},
		{"500, which does not count", status(llmgateway.Upstream, 500), []int{404}, false},
		{"a class", status(llmgateway.Denied, 403), []int{4}, true},
		{"400 never counts", status(llmgateway.InvalidRequest, 400), []int{4}, false},
		{"a lost connection always counts", fails(llmgateway.Upstream), []int{404}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := guarded("a", does(test.err), Breaker{Rest: time.Hour, MaxFails: 1, Statuses: test.statuses}, nil)
			ask(t.Context(), &Router{Targets: []*Target{a}}, chat("m"))
			if got := a.Condition().Down; got != test.down {
				t.Errorf("down: %t, want %t", got, test.down)
			}
			idle(t, a)
		})
	}
}

func TestWhatEndsAnAnswerCounts(t *testing.T) {
	for _, test := range []struct {
		name   string
		steps  []any
		reason string // "" if it stays up
	}{
		{"whole", []any{"a", "b"}, ""},
		{"nothing", nil, "the provider ended without an answer"},
		{"a role only", []any{"~role"}, "the provider ended without an answer"},
		{"broken after a word", []any{"a", fails(llmgateway.Upstream)}, "it is upstream"},
		{"silence after a word", []any{"a", time.Hour}, "no further token within 20s"},
		{"silence", []any{time.Hour}, "no first token within 10s"},
		{"late", []any{4 * second, "a"}, "its first token took 4s"},
		{"late and broken", []any{4 * second, "a", fails(llmgateway.Upstream)}, "2 failures in a row, at last: it is upstream"},
		{"in time", []any{3 * second, "a", 9 * second, "b"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := guarded("a", does(test.steps...), Breaker{Rest: time.Hour, MaxFails: 1, Latency: 3 * second}, nil)
				a.FirstTokenTimeout, a.StreamIdleTimeout = 10*second, 20*second
				ask(t.Context(), &Router{Targets: []*Target{a}}, chat("m"))
				if c := a.Condition(); c.Down != (test.reason != "") || c.Reason != test.reason {
					t.Errorf("got %+v, want %q", c, test.reason)
				}
				idle(t, a)
			})
		})
	}
}

func TestLateAnswersAreNoSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := guarded("a", does(4*second, "a"), Breaker{Rest: time.Hour, MaxFails: 2, Latency: 3 * second}, nil)
		for range 2 {
			ask(t.Context(), &Router{Targets: []*Target{a}}, chat("m")).check(t, "a", "", "")
		}
		if !a.Condition().Down {
			t.Error("it is up")
		}
	})
}

func TestWholeAnswersMayTakeLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := guarded("a", does(9*second, "a"), Breaker{Rest: time.Hour, MaxFails: 1, Latency: 3 * second}, nil)
		req := chat("m")
		req.Stream, req.ClientStream = false, false
		ask(t.Context(), &Router{Targets: []*Target{a}}, req).check(t, "a", "", "")
		if a.Condition().Down {
			t.Error("it is down")
		}
	})
}

// TestTimeOfAllTriesIsBlamedOnWhoHadIt has the router's own deadline pass.
func TestTimeOfAllTriesIsBlamedOnWhoHadIt(t *testing.T) {
	for _, test := range []struct {
		name string
		a, b []any
		down string
	}{
		{"the first is silent", []any{time.Hour}, []any{"b"}, "a"},
		{"the second had less time", []any{9 * second, fails(llmgateway.NoModel)}, []any{time.Hour}, ""},
		{"a long answer", []any{"a", time.Hour}, []any{"b"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := guarded("a", does(test.a...), Breaker{Rest: time.Hour, MaxFails: 1}, nil)
				b := guarded("b", does(test.b...), Breaker{Rest: time.Hour, MaxFails: 1}, nil)
				ask(t.Context(), &Router{Targets: []*Target{a, b}, Retries: -1, Timeout: 10 * second}, chat("m"))
				down := ""
				for _, target := range []*Target{a, b} {
					if target.Condition().Down {
						down += target.Name
					}
				}
				if down != test.down {
					t.Errorf("down: %q, want %q", down, test.down)
				}
				idle(t, a, b)
			})
		})
	}
}

// store is a cache's store.
type store struct{ sync.Map }

func (s *store) Get(_ context.Context, key cache.Key) ([]byte, bool) {
	answer, ok := s.Load(key)
	if !ok {
		return nil, false
	}
	return answer.([]byte), true
}

func (s *store) Put(_ context.Context, key cache.Key, answer []byte, _ time.Duration) {
	s.Store(key, answer)
}

func TestAnswersFromTheCacheTellNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := guarded("a", does(2*second, `{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}`), Breaker{Rest: second, MaxFails: 1}, nil)
		a.Cache = &cache.Cache{Store: &store{}, Policy: cache.Policy{TTL: time.Hour, MaxAnswerBytes: 1 << 20}}
		r := &Router{Targets: []*Target{a}}
		for range 3 {
			ask(t.Context(), r, chat("m"))
			synctest.Wait() // the answer is kept
		}
		if asked := a.Provider.(*script).asked(); asked != 1 {
			t.Errorf("asked %d times, want once", asked)
		}
		if took, _ := a.State.Latency(true); took != 2*second {
			t.Errorf("got a latency of %v, want that of the provider", took)
		}
		idle(t, a)
	})
}
