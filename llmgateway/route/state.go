package route

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// State is what is known of how a target does: the requests it has, its failures, and how fast it is. All targets that are
// one in truth share it, whichever configuration they belong to. The zero value knows nothing yet.
//
// Its methods may be called from many goroutines at once.
type State struct {
	inFlight atomic.Int64 // changed under mu only where there is a Breaker

	mu         sync.Mutex // guards what follows
	fails      int        // in a row
	lastFail   time.Time
	reason     string    // of the last failure
	rest       time.Time // the target wants to be left alone until then; it was not heard since
	results    results
	bad, all   int    // results that were failures, and all of them, when the last failure came
	probe      uint64 // the request that finds out whether the target has recovered, or 0
	probes     uint64 // how many there have been
	down       bool   // the last change that was told
	changedAt  time.Time
	checkError string // of the last health check
	checked    time.Time
	latency    [2]latency // of streams, and of whole answers
}

// InFlight returns how many requests the target has. A nil State has none.
func (s *State) InFlight() int {
	if s == nil {
		return 0
	}
	return int(s.inFlight.Load())
}

// Checked takes in the result of a health check for a target: nil, or an error whose message may be shown.
func (s *State) Checked(t *Target, err *llmgateway.Error) {
	s.mu.Lock()
	s.checked, s.checkError = time.Now(), ""
	if err != nil {
		s.checkError = err.Message
	}
	tell := s.changed(t, err != nil)
	s.mu.Unlock()
	tell()
}

// changed returns what tells of a change, if there is one. Only failures take a target down, and only what is good brings it
// up: that somebody else's thresholds are higher does not. s.mu is held.
func (s *State) changed(t *Target, failed bool) func() {
	c := s.condition(t.Breaker, time.Now())
	if c.Down != failed || c.Down == s.down {
		return func() {}
	}
	s.down, s.changedAt = c.Down, time.Now()
	if t.Breaker.Changed == nil {
		return func() {}
	}
	return func() { t.Breaker.Changed(t, c) }
}

// failed takes in a failure.
func (s *State) failed(t *Target, err *llmgateway.Error) {
	s.mu.Lock()
	now := time.Now()
	s.fails++
	s.lastFail, s.reason = now, err.Message
	s.results.add(now, true)
	s.bad, s.all = s.results.sum(now)
	switch {
	case err.RetryAfter > 0:
		if until := now.Add(min(err.RetryAfter, maxRest)); until.After(s.rest) {
			s.rest = until
		}
	case !s.rest.IsZero() && !now.Before(s.rest): // it had the rest that it asked for, and fails still
		s.rest = now.Add(t.Breaker.Rest)
	}
	tell := s.changed(t, true)
	s.mu.Unlock()
	tell()
}

// heard takes in that a request that began then is being answered: a target that was down is up again. What began before the
// last failure says nothing of that.
func (s *State) heard(t *Target, began time.Time) {
	s.mu.Lock()
	tell := func() {}
	if why, _ := s.tripped(t.Breaker, time.Now()); why != none && !began.Before(s.lastFail) {
		s.fails, s.rest, s.probe, s.results, s.bad, s.all = 0, time.Time{}, 0, results{}, 0, 0
		tell = s.changed(t, false)
	}
	s.mu.Unlock()
	tell()
}

// succeeded takes in a whole answer.
func (s *State) succeeded(t *Target) {
	s.mu.Lock()
	now := time.Now()
	s.results.add(now, false)
	tell := func() {}
	if why, _ := s.tripped(t.Breaker, now); why == none {
		s.fails = 0
		tell = s.changed(t, false)
	}
	s.mu.Unlock()
	tell()
}

// results counts what became of the requests of the last minute.
type results [12]struct {
	slot        int64 // since 1970, of slotTime each
	all, failed int
}

const slotTime = 5 * time.Second

func (r *results) add(now time.Time, failed bool) {
	slot := now.UnixNano() / int64(slotTime)
	s := &r[slot%int64(len(r))]
	if s.slot != slot {
		s.slot, s.all, s.failed = slot, 0, 0
	}
	s.all++
	if failed {
		s.failed++
	}
}

func (r *results) sum(now time.Time) (failed, all int) {
	slot := now.UnixNano() / int64(slotTime)
	for i := range r {
		if slot-r[i].slot < int64(len(r)) {
			failed += r[i].failed
			all += r[i].all
		}
	}
	return failed, all
}

// latency is a moving average of times.
type latency struct {
	average time.Duration
	at      time.Time // of the last one; zero if there was none
}

// forgetting is the time in which an average forgets most of what it knew.
const forgetting = 30 * time.Second

func (l *latency) add(now time.Time, took time.Duration) {
	if l.at.IsZero() {
		l.average, l.at = took, now
		return
	}
	// What was learned long ago counts little beside something new, so that a target that has recovered is seen at once.
	weight := max(1-math.Exp(-now.Sub(l.at).Seconds()/forgetting.Seconds()), 1./8)
	l.average += time.Duration(weight * float64(took-l.average))
	l.at = now
}

// took takes in how long the first token of a stream took, or a whole answer. A failure doubles the average: it is never fast.
func (s *State) took(took time.Duration, stream, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	l := &s.latency[kind(stream)]
	if failed {
		l.average, l.at = max(took, min(2*l.average, time.Minute), time.Second), now
		return
	}
	l.add(now, took)
}

// Latency returns the average time to the first token of streams, or to whole answers, and when one was last measured. The
// time is zero if none was, as it is for a nil State.
func (s *State) Latency(stream bool) (average time.Duration, at time.Time) {
	if s == nil {
		return 0, time.Time{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.latency[kind(stream)]
	return l.average, l.at
}

func kind(stream bool) int {
	if stream {
		return 0
	}
	return 1
}
