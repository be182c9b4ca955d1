package route

import (
	"context"
	"iter"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// choice is a target that was chosen for an attempt, with a place among the requests that it has. The place is given back by
// ranging over what generate returns.
type choice struct {
	*Target
	probe uint64 // if not 0, the attempt finds out for others whether the target has recovered
	first bool   // it is the request's first attempt
}

// enter takes a place at the target. It fails if the target has no room or, unless anyway is true, rests.
func (t *Target) enter(anyway bool) (choice, bool) {
	c := choice{Target: t}
	s, b := t.State, t.Breaker
	switch {
	case s == nil:
		return c, true
	case b == nil:
		s.inFlight.Add(1)
		return c, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.full(b) || !anyway && s.resting(b, now) {
		return choice{}, false
	}
	if why, until := s.tripped(b, now); why != none && s.probe == 0 && !now.Before(until) {
		s.probes++
		s.probe, c.probe = s.probes, s.probes
	}
	s.inFlight.Add(1)
	return c, true
}

// leave gives the place back.
func (c choice) leave() {
	c.State.inFlight.Add(-1)
	if c.probe == 0 {
		return
	}
	c.State.mu.Lock()
	defer c.State.mu.Unlock()
	if c.State.probe == c.probe { // it may have been found out meanwhile
		c.State.probe = 0
	}
}

// generate makes the attempt.
func (c choice) generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	events := c.Target.generate(ctx, req, c.first)
	if c.State == nil {
		return events
	}
	return func(yield func(llmgateway.Event, error) bool) {
		defer c.leave()
		events(yield)
	}
}
