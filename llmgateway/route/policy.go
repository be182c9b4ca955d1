package route

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// A Policy chooses the target of the next attempt. candidates is never empty; it holds the targets that have not been
// tried for this request and are up or, when all have been tried, those worth asking again, in configured order. What is
// returned must be one of them.
//
// Select may be called from many goroutines at once.
type Policy interface {
	Select(candidates []*Target, req *llmgateway.Request) *Target
}

// A Binder is a Policy that has something to remember of the targets it chooses from: it is asked once for one that is for
// these targets only.
type Binder interface {
	Policy
	Bind(targets []*Target) (Policy, error)
}

// A Watcher is a Policy that looks at the State of targets, which is only kept if somebody does.
type Watcher interface {
	Policy
	// WatchesState does nothing; it tells that the policy is a Watcher.
	WatchesState()
}

// First takes the targets in the order they are written. It is the default.
type First struct{}

// Select implements Policy.
func (First) Select(candidates []*Target, _ *llmgateway.Request) *Target { return candidates[0] }

// Random takes any target, with equal chances.
type Random struct{}

// Select implements Policy.
func (Random) Select(candidates []*Target, _ *llmgateway.Request) *Target {
	return candidates[rand.IntN(len(candidates))]
}

// LeastConn takes the target with the fewest requests, and by chance among equals.
type LeastConn struct{}

// WatchesState implements Watcher.
func (LeastConn) WatchesState() {}

// Select implements Policy.
func (LeastConn) Select(candidates []*Target, _ *llmgateway.Request) *Target {
	var best *Target
	fewest, equals := 0, 0
	for _, t := range candidates {
		n := t.State.InFlight()
		switch {
		case best == nil || n < fewest:
			best, fewest, equals = t, n, 1
		case n == fewest:
			if equals++; rand.IntN(equals) == 0 {
				best = t
			}
		}
	}
	return best
}

// RoundRobin takes one target after the other.
type RoundRobin struct{}

// Bind implements Binder.
func (RoundRobin) Bind(targets []*Target) (Policy, error) {
	return Weighted{Weights: slices.Repeat([]int{1}, len(targets))}.Bind(targets)
}

// Select implements Policy. Where it is not bound, it cannot know whose turn it is.
func (RoundRobin) Select(candidates []*Target, req *llmgateway.Request) *Target {
	return Random{}.Select(candidates, req)
}

// Weighted takes the targets in turn, each as often as its weight says. One with the weight 0 is only taken if no other is
// left.
type Weighted struct {
	// Weights has one weight for each target, in order.
	Weights []int
}

// Bind implements Binder.
func (w Weighted) Bind(targets []*Target) (Policy, error) {
	if len(w.Weights) != len(targets) {
		return nil, fmt.Errorf("there are %d weights for %d targets; write one for each, in order", len(w.Weights), len(targets))
	}
	sum := 0
	turns := &turns{of: make(map[*Target]*turn, len(targets))}
	for i, t := range targets {
		if w.Weights[i] < 0 {
			return nil, fmt.Errorf("the weight %d is negative", w.Weights[i])
		}
		sum += w.Weights[i]
		turns.of[t] = &turn{weight: w.Weights[i]}
	}
	if sum == 0 {
		return nil, fmt.Errorf("all weights are 0")
	}
	return turns, nil
}

// Select implements Policy. Where it is not bound, it cannot know whose weights they are.
func (Weighted) Select(candidates []*Target, req *llmgateway.Request) *Target {
	return Random{}.Select(candidates, req)
}

// turns remembers whose turn it is, as nginx does: everybody gains their weight with each choice, and who has most is taken
// and pays for all. So turns are spread evenly, and who is not among the candidates neither gains nor loses.
type turns struct {
	mu sync.Mutex // guards credits
	of map[*Target]*turn
}

type turn struct{ weight, credit int }

// Select implements Policy.
func (p *turns) Select(candidates []*Target, _ *llmgateway.Request) *Target {
	p.mu.Lock()
	defer p.mu.Unlock()
	var best *Target
	var richest *turn
	total := 0
	for _, t := range candidates {
		o := p.of[t]
		if o == nil || o.weight == 0 {
			continue
		}
		o.credit += o.weight
		total += o.weight
		if richest == nil || o.credit > richest.credit {
			best, richest = t, o
		}
	}
	if best == nil {
		return candidates[0]
	}
	richest.credit -= total
	return best
}
