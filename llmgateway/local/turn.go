package local

import (
	"errors"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local/memory"
)

// turn is one stay of an engine in memory: from asking for room to the end of the process. Its claim is in the budget for
// as long as that.
type turn struct {
	claim *memory.Claim
	// stop is closed when it is to end.
	stop chan struct{}

	// The engine's mu guards what follows.
	ended bool // stop is closed
	kept  bool // loading goes on even if nobody waits for it
}

func (t *turn) stopped() bool {
	select {
	case <-t.stop:
		return true
	default:
		return false
	}
}

// begin asks for room. mu is held.
func (e *Engine) begin(manner memory.Manner) {
	e.turn = &turn{claim: e.budget.Enter(e.key.Name(), manner, e.pins), stop: make(chan struct{})}
}

// end ends the turn; what waits for the engine then waits for the next one. Whoever calls it knows that no generation
// runs. mu is held.
func (e *Engine) end() {
	if e.turn.ended {
		return
	}
	e.turn.ended, e.ready = true, false
	close(e.turn.stop)
	e.turn.claim.Going()
}

// pin notes that a request needs the engine.
func (e *Engine) pin() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pins++
	e.pinned()
}

// unpin notes that a request does not need the engine any more. A load ends with the last one, unless one of them was sent
// away for want of time: then it goes on, since otherwise a slow model would never be loaded.
func (e *Engine) unpin(sentAway bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pins--
	if e.loading() {
		e.turn.kept = e.turn.kept || sentAway
		if e.pins == 0 && !e.turn.kept {
			e.end()
		}
	}
	e.pinned()
}

// loading reports whether the turn has not come to serving yet. mu is held.
func (e *Engine) loading() bool { return e.turn != nil && !e.turn.ended && !e.ready && !e.draining }

// pinned takes in that pins has changed. mu is held.
func (e *Engine) pinned() {
	if e.turn != nil {
		e.turn.claim.Need(e.pins)
	}
	e.watchIdle()
}

// heed does what the budget asks for. A server that loads, and for which nobody waits, ends; one that serves finishes
// what runs, unless its memory is not needed after all before it has.
func (e *Engine) heed() {
	e.mu.Lock()
	defer e.mu.Unlock()
	asked := e.turn.claim.Asked()
	switch {
	case e.turn.ended:
	case asked && e.ready:
		e.logger.Info("engine makes room", "running", e.current.leases)
		e.ready, e.draining = false, true
		e.watchIdle()
		e.drained()
	case asked && !e.draining:
		e.end()
	case !asked && e.draining:
		e.ready, e.draining = true, false
		e.answer(nil)
		e.watchIdle()
	}
}

// drained ends the turn of a server that was to finish what runs, and has. mu is held.
func (e *Engine) drained() {
	if e.draining && e.current.leases == 0 {
		e.end()
	}
}

// reserve waits for room. stopped is true if the turn ended before there was any.
func (e *Engine) reserve(t *turn) (stopped bool, failure *failure) {
	found, failure := e.files.check(e.key.Config, 0)
	if failure != nil {
		return false, failure
	}
	t.claim.Size(found.bytes)
	select {
	case <-t.claim.Granted():
		return false, e.refusal(t)
	default:
	}
	report := e.budget.Report()
	e.logger.Info("engine waits for memory", "bytes", found.bytes, "used", report.UsedBytes, "max_memory", report.MaxBytes)
	select {
	case <-t.claim.Granted():
		return false, e.refusal(t)
	case <-t.stop:
		return true, nil
	}
}

// refusal returns why there will be no room, or nil if there is.
func (e *Engine) refusal(t *turn) *failure {
	err := t.claim.Err()
	if large, ok := errors.AsType[*memory.TooLargeError](err); ok {
		return tooLarge(large)
	}
	if err == nil {
		return nil
	}
	// There was no memory for another try. What matters is why one was needed.
	e.mu.Lock()
	defer e.mu.Unlock()
	again := newFailure("the local model could not be loaded", err)
	if e.failure != nil {
		*again = *e.failure
	}
	again.crowded = true
	return again
}

// serviceAfter returns how long a server that took so long to load is let serve before it must make room.
func (t timing) serviceAfter(loading time.Duration) time.Duration {
	return min(max(loading, t.service), t.maxService)
}
