package route

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// moody is a provider that does anything, and counts the requests that it has.
type moody struct {
	now, most atomic.Int64
}

func (m *moody) Generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		n := m.now.Add(1)
		defer m.now.Add(-1)
		for most := m.most.Load(); n > most && !m.most.CompareAndSwap(most, n); most = m.most.Load() {
		}
		wait := rand.N(5 * second)
		limited := &llmgateway.Error{Kind: llmgateway.RateLimited, Status: 429, RetryAfter: 2*second + rand.N(8*second)}
		steps := [][]any{
			{wait, "a", wait, "b"},
			{wait, "a", wait, errBoom},
			{wait, errBoom},
			{wait, limited},
			{wait, fails(llmgateway.InvalidRequest)},
			{time.Hour},
			{},
		}
		perform(ctx, req, steps[rand.IntN(len(steps))], yield)
	}
}

// TestPlacesAreGivenBack has many requests do all that may happen to them, at once: places at targets are never more than
// there are, one request at a time probes, and in the end all is as before.
func TestPlacesAreGivenBack(t *testing.T) {
	for name, r := range map[string]*Router{
		"plain":    {Policy: LeastLatency{}},
		"resuming": {Resume: true},
		"hedging":  {Policy: LeastConn{}, Hedge: &Hedge{After: 3 * second, Share: 1}},
		"both":     {Resume: true, Hedge: &Hedge{After: 3 * second, Share: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { storm(t, r) })
		})
	}
}

func storm(t *testing.T, r *Router) {
	const most = 7
	providers := []*moody{{}, {}, {}}
	var targets []*Target
	var probing [3]atomic.Int64
	for i, p := range providers {
		target := guarded(string(rune('a'+i)), p, Breaker{
			Rest: 5 * second, MaxFails: 2, MaxFailRate: 0.5, MinResults: 5, Latency: 4 * second, MaxRequests: most,
		}, nil)
		target.FirstTokenTimeout = 20 * second
		targets = append(targets, target)
	}
	r.Targets, r.Retries, r.TryInterval, r.Timeout = targets, 5, second, 40*second
	var requests sync.WaitGroup
	for range 500 {
		requests.Go(func() {
			time.Sleep(rand.N(200 * second))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if rand.IntN(4) == 0 {
				time.AfterFunc(rand.N(10*second), cancel)
			}
			req := chat("m")
			req.Stream = rand.IntN(2) == 0
			leaves := rand.IntN(8) == 0
			for _, err := range r.Generate(ctx, req) {
				if err != nil && errors.Is(err, context.Canceled) && ctx.Err() == nil {
					t.Error("canceled, but nobody did")
				}
				if leaves {
					break
				}
			}
		})
	}
	// Beside them, choices by hand see how many probes there are.
	for i, target := range targets {
		requests.Go(func() {
			for range 400 {
				time.Sleep(rand.N(second))
				c, ok := target.enter(false)
				if !ok {
					continue
				}
				if c.probe != 0 && probing[i].Add(1) > 1 {
					t.Error("two probes at once")
				}
				time.Sleep(rand.N(second))
				if c.probe != 0 {
					probing[i].Add(-1)
				}
				c.leave()
			}
		})
	}
	requests.Wait()
	idle(t, targets...)
	for i, p := range providers {
		if p.most.Load() > most || p.now.Load() != 0 {
			t.Errorf("%s had %d requests at once and has %d", targets[i].Name, p.most.Load(), p.now.Load())
		}
	}
}
