package route

import (
	"fmt"
	"slices"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Breaker says when a target counts as down. Targets that are up are asked first; one that is down is tried again when it
// has rested, by one request at a time, and by any request that nobody else is left for.
//
// It has thresholds only: what happened is in the target's [State], which several configurations may look at.
type Breaker struct {
	// Rest is how long a target rests after the failure that took it down, unless its provider says how long. 0 means that
	// failures do not count.
	Rest time.Duration
	// MaxFails is how many failures in a row take a target down; 0 means no number does.
	MaxFails int
	// MaxFailRate is the part of failures among the results of the last minute that takes a target down, when one comes, in
	// (0, 1]; 0 means that none does.
	MaxFailRate float64
	// MinResults is how many results there must be for MaxFailRate to count.
	MinResults int
	// Statuses are those of HTTP that are failures; a number below 10 means a class, such as 5 for 5xx. Nil means
	// [DefaultStatuses]. What has no status, such as a lost connection or a passed deadline, is a failure always.
	Statuses []int
	// Latency is the time to the first token of a stream from which on an answer is a failure too; 0 means none is.
	Latency time.Duration
	// MaxRequests is how many requests a target may have at once; 0 means any number. It is a bound that holds always.
	MaxRequests int
	// CheckInterval is how often somebody calls [State.Checked]; 0 means that nobody does, and that checks do not count.
	CheckInterval time.Duration
	// Changed is called once when a target goes down, and once when it is up again. It may be nil, and must not block.
	Changed func(t *Target, c Condition)
}

// DefaultStatuses are the statuses that say something of the provider and not of the request: refused credentials (but not
// 403, which some models have for some clients), no credit, too many requests, and whatever the server fails with.
var DefaultStatuses = []int{401, 402, 408, 429, 5}

// Condition is how a target is.
type Condition struct {
	Down bool
	// Reason says why it is down. It may be shown to clients.
	Reason string
	// Since is when it went down, or zero if that is not known.
	Since time.Time
	// Until is when the next request tries it again, or zero if that is not known.
	Until time.Time
}

// maxRest is the longest rest that a provider can ask for.
const maxRest = 5 * time.Minute

// counts reports whether an error says that the target is in trouble. What is wrong with the request, or was refused here,
// says nothing.
func (b *Breaker) counts(err *llmgateway.Error) bool {
	status := err.Status
	switch err.Kind {
	case llmgateway.InvalidRequest, llmgateway.ContextLength, llmgateway.Unsupported, llmgateway.ContentFilter,
		llmgateway.NoModel, llmgateway.Canceled:
		return false
	case llmgateway.Overloaded:
		if status < 400 { // a local model's queue; and one that cannot be loaded is not asked to by itself
			return false
		}
	case llmgateway.RateLimited: // maybe within an answer that began as a good one
		status = max(status, 429)
	case llmgateway.Denied:
		status = max(status, 401)
	case llmgateway.Timeout, llmgateway.Upstream:
	}
	if status < 400 {
		return true
	}
	statuses := b.Statuses
	if statuses == nil {
		statuses = DefaultStatuses
	}
	return slices.ContainsFunc(statuses, func(s int) bool { return s == status || s < 10 && s == status/100 })
}

// trouble is why a target is down.
type trouble int

const (
	none trouble = iota
	checkFailed
	askedToRest
	failedInARow
	failsOften
)

// trouble returns why the target is down by b, and until when it rests. s.mu is held.
func (s *State) trouble(b *Breaker, now time.Time) (trouble, time.Time) {
	if b.CheckInterval > 0 && s.checkError != "" {
		return checkFailed, s.checked.Add(b.CheckInterval)
	}
	return s.tripped(b, now)
}

// tripped is trouble without what health checks say. s.mu is held.
func (s *State) tripped(b *Breaker, now time.Time) (trouble, time.Time) {
	switch {
	case b.Rest <= 0:
		return none, time.Time{}
	case !s.rest.IsZero():
		return askedToRest, s.rest
	case b.MaxFails > 0 && s.fails >= b.MaxFails:
		return failedInARow, s.lastFail.Add(b.Rest)
	case b.MaxFailRate > 0 && s.all >= max(b.MinResults, 1) && float64(s.bad) >= b.MaxFailRate*float64(s.all):
		return failsOften, s.lastFail.Add(b.Rest)
	}
	return none, time.Time{}
}

// condition describes the target's trouble. s.mu is held.
func (s *State) condition(b *Breaker, now time.Time) Condition {
	why, until := s.trouble(b, now)
	c := Condition{Down: why != none, Until: until}
	if s.down {
		c.Since = s.changedAt
	}
	switch why {
	case none:
	case checkFailed:
		c.Reason = "health check: " + s.checkError
	case askedToRest:
		c.Reason = "left alone after: " + s.reason
	case failedInARow:
		c.Reason = s.reason
		if s.fails > 1 {
			c.Reason = fmt.Sprintf("%d failures in a row, at last: %s", s.fails, s.reason)
		}
	case failsOften:
		c.Reason = fmt.Sprintf("%.0f%% of %d requests failed within a minute, at last: %s", 100*float64(s.bad)/float64(s.all), s.all, s.reason)
	}
	return c
}

// Condition returns how the target is, as its Breaker sees it.
func (t *Target) Condition() Condition {
	if t.State == nil || t.Breaker == nil {
		return Condition{}
	}
	t.State.mu.Lock()
	defer t.State.mu.Unlock()
	return t.State.condition(t.Breaker, time.Now())
}

// closed reports whether the target would take no request now, for it is down or has as many as it may.
func (t *Target) closed() bool {
	if t.State == nil || t.Breaker == nil {
		return false
	}
	t.State.mu.Lock()
	defer t.State.mu.Unlock()
	return t.State.full(t.Breaker) || t.State.resting(t.Breaker, time.Now())
}

// resting reports whether a request has to go elsewhere if it can. s.mu is held.
func (s *State) resting(b *Breaker, now time.Time) bool {
	why, until := s.trouble(b, now)
	return why == checkFailed || why != none && (s.probe != 0 || now.Before(until))
}

// full reports whether the target has as many requests as it may.
func (s *State) full(b *Breaker) bool {
	return b.MaxRequests > 0 && s.inFlight.Load() >= int64(b.MaxRequests)
}

// tooMany is the error for a target that has as many requests as it may.
func (t *Target) tooMany() *llmgateway.Error {
	return &llmgateway.Error{
		Kind: llmgateway.Overloaded, Message: fmt.Sprintf("it has %d requests, which is all that it may have at once", t.Breaker.MaxRequests),
	}
}

// returns is when the target may be tried again.
func (t *Target) returns() time.Time { return t.Condition().Until }
