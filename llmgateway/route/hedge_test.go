package route

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/cache"
)

// hedging returns a router that asks b if a is silent for a second.
func hedging(a, b *script) *Router {
	return &Router{
		Targets: []*Target{named("a", a), named("b", b)}, Retries: -1,
		Hedge: &Hedge{After: time.Second, Share: 1},
	}
}

func TestSecondTargetIsAskedWhileTheFirstIsSilent(t *testing.T) {
	const s = time.Second
	tests := []struct {
		name      string
		a, b      *script
		text      string
		told, err string
		took      time.Duration
		asked     int // how often b was
	}{
		{"and begins first", does(10*s, "far"), does(s, "ne", "ar", finish), "near", "outrun a, answering b", "", 2 * s, 1},
		{"but the first begins first", does(2*s, "fa", "r", finish), does(5*s, "near"), "far", "outrun b, answering a", "", 2 * s, 1},
		{"but not if it begins in time", does(s/2, "fa", 3*s, "r", finish), does("near"), "far", "answering a", "", 3500 * time.Millisecond, 0},
		{"a bare role is no beginning", does("~", 10*s, "far"), does("near", finish), "near", "outrun a, answering b", "", s, 1},
		{"and answers when the first fails", does(2*s, fails(llmgateway.Upstream)), does(2*s, "near", finish), "near", "tried a, answering b", "", 3 * s, 1},
		{"and fails, and the first answers", does(3*s, "far", finish), does(fails(llmgateway.Upstream)), "far", "tried b, answering a", "", 3 * s, 1},
		{"but both fail", does(2*s, fails(llmgateway.Denied)), does(2*s, fails(llmgateway.Denied)), "", "tried a, tried b", "every target failed", 3 * s, 1},
		{"but the first finds the request wrong", does(2*s, fails(llmgateway.InvalidRequest)), does(9*s, "near"), "", "tried a", "invalid", 2 * s, 1},
		{"and a first that fails at once is followed as ever", does(fails(llmgateway.Upstream)), does("near", finish), "near", "tried a, answering b", "", 0, 1},
		{"and breaks", does(10*s, "far"), does("ne", errBoom), "ne", "outrun a, answering b", "the provider failed", s, 1},
	}
	for _, test := range tests {
		for _, whole := range []bool{false, true} {
			if whole && test.name == "and breaks" {
				continue // nothing was passed on, so the first is asked again
			}
			t.Run(fmt.Sprint(test.name, " whole=", whole), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					req := streamed(t, "")
					if whole {
						req.Stream, req.ClientStream = false, false
					}
					began, before := time.Now(), test.b.asked()
					h := listen(t.Context(), hedging(test.a, test.b), req)
					h.check(t, test.text, test.told, test.err)
					took := time.Since(began)
					if took != test.took {
						t.Errorf("took %v, want %v", took, test.took)
					}
					if got := test.b.asked() - before; got != test.asked {
						t.Errorf("the second was asked %d times, want %d", got, test.asked)
					}
				})
			})
		}
	}
}

// A local model that is being loaded goes on if it was not the client that left: the cause tells them apart.
func TestOutrunTargetIsCanceledAtOnceAndNotByTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var why error
		var stopped time.Time
		a := &observer{does: func(ctx context.Context) {
			<-ctx.Done()
			why, stopped = context.Cause(ctx), time.Now()
		}}
		r := hedging(nil, does("near", 5*time.Second, "er", finish))
		r.Targets[0].Provider = a
		began := time.Now()
		listen(t.Context(), r, streamed(t, "")).check(t, "nearer", "outrun a, answering b", "")
		if errors.Is(why, context.Canceled) || !errors.Is(why, errOutrun) || stopped.Sub(began) != time.Second {
			t.Errorf("canceled after %v by %v", stopped.Sub(began), why)
		}
	})
}

// observer is a provider that never answers.
type observer struct{ does func(context.Context) }

func (o *observer) Generate(ctx context.Context, _ *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		o.does(ctx)
		yield(llmgateway.Event{}, ctx.Err())
	}
}

func TestClientThatLeavesEndsBothContenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := does(time.Hour), does(time.Hour)
		ctx, leave := context.WithTimeoutCause(t.Context(), 2*time.Second, context.Canceled)
		defer leave()
		h := listen(ctx, hedging(a, b), streamed(t, ""))
		if h.err == nil || h.err.Kind != llmgateway.Canceled || a.stopped != 1 || b.stopped != 1 {
			t.Errorf("got %v; stopped %d and %d", h.err, a.stopped, b.stopped)
		}
	})
}

func TestHedgingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, fast := does(2*time.Second, "far", finish), does("near", finish)
		r := hedging(slow, fast)
		r.Hedge.Share = 0.1
		near := 0
		for range 100 {
			if h := listen(t.Context(), r, streamed(t, "")); h.text == "near" {
				near++
			} else if h.text != "far" {
				t.Fatalf("got %q, %v", h.text, h.err)
			}
		}
		if near != 11 { // each tenth, and the first
			t.Errorf("%d of 100 requests were hedged", near)
		}
	})
}

func TestHedgingLearnsWhatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &script{}
		for i := range fewStarts {
			slow.then(time.Duration(i+1)*100*time.Millisecond, "far", finish)
		}
		slow.then(time.Hour)
		r := hedging(slow, does("near", finish))
		r.Hedge.After = 0
		for range fewStarts {
			listen(t.Context(), r, streamed(t, "")).check(t, "far", "answering a", "")
		}
		began := time.Now()
		listen(t.Context(), r, streamed(t, "")).check(t, "near", "outrun a, answering b", "")
		if took := time.Since(began); took != 1900*time.Millisecond {
			t.Errorf("hedged after %v", took)
		}
	})
}

func TestTargetThatIsDownIsNoRival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := does("near", finish)
		r := hedging(does(2*time.Second, "far", finish), b)
		down := r.Targets[1]
		down.State, down.Breaker = new(State), &Breaker{Rest: time.Minute, MaxFails: 1}
		down.State.failed(down, &llmgateway.Error{Kind: llmgateway.Upstream})
		listen(t.Context(), r, streamed(t, "")).check(t, "far", "answering a", "")
		if b.asked() > 0 {
			t.Error("it was asked")
		}
	})
}

func TestPanicOfAContenderIsTheCallers(t *testing.T) {
	r := hedging(does(func(*llmgateway.Request) { panic("boo") }), does("near"))
	defer func() {
		if got := recover(); got != "boo" {
			t.Errorf("got the panic %v", got)
		}
	}()
	listen(t.Context(), r, streamed(t, ""))
}

// The hooks of whoever asks are called by the goroutine that ranges over the events, and for who answers only.
func TestWinnersCacheIsToldOfAndNotTheLosers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := cache.NewMemory(1<<20, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		r := hedging(does(10*time.Second, "far"), does("near", finish))
		r.Targets[0].Cache = &cache.Cache{Store: store, Policy: cache.Policy{TTL: time.Hour, MaxAnswerBytes: 1 << 20}}
		r.Targets[1].Cache = r.Targets[0].Cache
		for _, want := range []string{"outrun a, cache miss, answering b", "outrun a, cache hit, answering b"} {
			var told []string
			ctx := llmgateway.WithTrace(t.Context(), &llmgateway.Trace{
				Answering: func(a llmgateway.Attempt) { told = append(told, "answering "+a.Provider) },
				Outrun:    func(a llmgateway.Attempt) { told = append(told, "outrun "+a.Provider) },
				Cached:    func(use llmgateway.CacheUse) { told = append(told, "cache "+string(use.Result)) },
			})
			for _, err := range r.Generate(ctx, streamed(t, "")) {
				if err != nil {
					t.Fatal(err)
				}
			}
			if got := strings.Join(told, ", "); got != want {
				t.Errorf("told %q, want %q", got, want)
			}
			synctest.Wait()
		}
	})
}

// Whoever was outrun has not failed, and can be asked when the faster one breaks.
func TestOutrunTargetIsAskedAgainWhenTheFasterBreaks(t *testing.T) {
	for _, whole := range []bool{true, false} {
		t.Run(fmt.Sprint("whole=", whole), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := does(10*time.Second, "never").then("near", "er", finish), does("near", errBoom)
				r := hedging(a, b)
				r.Resume = true
				req, told := streamed(t, ""), "outrun a, answering b, broke b, resumed a"
				if whole {
					req.Stream, req.ClientStream = false, false
					told = "outrun a, tried b, answering a"
				}
				listen(t.Context(), r, req).check(t, "nearer", told, "")
				if a.asked() != 2 || b.asked() != 1 {
					t.Errorf("a was asked %d times, b %d", a.asked(), b.asked())
				}
			})
		})
	}
}
