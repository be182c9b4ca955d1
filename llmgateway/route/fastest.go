package route

import (
	"math/rand/v2"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// LeastLatency takes the target whose first token came soonest of late, on average. One that it knows nothing of is taken
// first, and now and then the one that it has not heard of for longest, to find out whether that has become faster.
type LeastLatency struct {
	chance func() float64 // returns a number in [0, 1); nil means a random one
}

// exploration is the part of requests that go to the target that was not heard of for longest.
const exploration = 1. / 32

// WatchesState implements Watcher.
func (LeastLatency) WatchesState() {}

// Select implements Policy.
func (p LeastLatency) Select(candidates []*Target, req *llmgateway.Request) *Target {
	chance := p.chance
	if chance == nil {
		chance = rand.Float64
	}
	fastest, stalest := candidates[0], candidates[0]
	var least time.Duration
	var oldest time.Time
	for i, t := range candidates {
		average, at := t.State.Latency(req.Stream)
		// Of those that nothing is known of, the ones that are being tried already come last.
		if i == 0 || average < least || average == least && t.State.InFlight() < fastest.State.InFlight() {
			fastest, least = t, average
		}
		if i == 0 || at.Before(oldest) {
			stalest, oldest = t, at
		}
	}
	if least > 0 && chance() < exploration {
		return stalest
	}
	return fastest
}
