package local

import (
	"context"
	"sync"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local/memory"
)

// supervise keeps a server running until the engine is closed, idle or failed. There is at most one at a time, which
// owns current.
func (e *Engine) supervise() {
	for {
		began := time.Now()
		turn := e.currentTurn()
		wasReady, failure := e.run(turn)
		if turn.stopped() {
			failure = nil // it was asked to end, and that is how it did
		}
		switch {
		case failure != nil:
		case wasReady:
			e.logger.Info("engine unloaded", "duration", time.Since(began))
			e.notify(Notice{Change: Unloaded, Took: time.Since(began)})
		default:
			e.logger.Info("engine load given up", "duration", time.Since(began))
		}
		delay, more := e.again(wasReady, time.Since(began), failure)
		if failure != nil {
			e.logFailure(failure, delay, more)
			e.notify(Notice{Change: Failed, Took: time.Since(began), Reason: failure.detail})
		}
		if !more {
			return
		}
	}
}

func (e *Engine) logFailure(failure *failure, delay time.Duration, more bool) {
	logger := e.logger.With("error", failure.err, "detail", failure.detail, "retry_after", delay)
	if failure.lines != nil {
		logger = logger.With("last_lines", failure.lines)
	}
	if more {
		logger.Warn("engine died")
	} else {
		logger.Error("engine failed")
	}
}

// again takes in how a server ended. It returns whether there shall be another, and when.
func (e *Engine) again(wasReady bool, lived time.Duration, failure *failure) (delay time.Duration, more bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	proven := wasReady && (lived >= e.timing.stable || e.current.answered.Load())
	manner, kept := memory.Eager, false
	e.failure = failure
	e.loads.began = time.Time{}
	switch {
	case e.closed:
		close(e.done)
	case failure == nil:
		if wasReady {
			e.failures = 0
		}
		more = e.pins > 0
	default:
		e.lastFailure = failure
		delay, more = e.fail(wasReady, proven)
		// It is needed by those who wait, or kept for those who will; but not if it had to make room anyway.
		kept = e.turn.kept || wasReady && !e.draining
		more = more && (kept || e.pins > 0)
		if !wasReady {
			// Others may have gone for it, in vain. They do not go a second time before the cool-down is over.
			manner = memory.Meek
		}
	}
	e.current, e.turn, e.ready, e.draining = nil, nil, false, false
	e.watchIdle()
	e.retryAt = time.Now().Add(delay)
	switch {
	case more:
		e.begin(manner)
		e.turn.kept = kept
	case failure != nil:
		e.answer(failure.asError(delay))
	}
	return delay, more
}

func (e *Engine) currentTurn() *turn {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.turn
}

// fail counts a failure, the first one anew if the server had proven to be of use. It returns when the next try may be, and
// whether it is made without being asked for.
func (e *Engine) fail(wasReady, proven bool) (delay time.Duration, more bool) {
	t := e.timing
	if e.failure.files {
		return t.recheck, false
	}
	if proven {
		e.failures = 0
	}
	e.failures++
	if e.failure.crowded {
		e.failures = max(e.failures, t.tries)
	}
	if e.failures >= t.tries {
		return double(t.cooldown, e.failures-t.tries, t.maxCooldown), false
	}
	if wasReady && e.failures == 1 {
		return 0, true
	}
	return double(t.backoff, e.failures-1, t.maxBackoff), true
}

// double returns d doubled n times, but no more than most.
func double(d time.Duration, n int, most time.Duration) time.Duration {
	for ; n > 0 && d < most; n-- {
		d *= 2
	}
	return min(d, most)
}

// run runs one server from its start to its end. It returns no failure if the server was asked to stop.
func (e *Engine) run(t *turn) (wasReady bool, failure *failure) {
	defer t.claim.Release() // when the process has ended
	if !e.sleep(time.Until(e.nextTry()), t) {
		return false, nil
	}
	if stopped, failure := e.reserve(t); stopped || failure != nil {
		return false, failure
	}
	s, failure := e.start()
	if failure != nil {
		return false, failure
	}
	defer s.end(e.timing.patience)
	if !e.adopt(s) {
		return false, nil
	}
	began := time.Now()
	if stopped, failure := e.load(s, t); stopped || failure != nil {
		return false, failure
	}
	e.logger.Info("engine loaded", "duration", time.Since(began), "pid", s.process.cmd.Process.Pid)
	e.notify(Notice{Change: Loaded, Took: time.Since(began)})
	s.log.serving.Store(true)
	ctx, cancel := e.caching(t.stop)
	s.restore(ctx)
	cancel()
	e.serve(e.timing.serviceAfter(time.Since(began)))
	return true, e.attend(s, t)
}

func (e *Engine) nextTry() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.retryAt
}

// sleep returns false if the turn ended meanwhile.
func (e *Engine) sleep(d time.Duration, t *turn) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.stop:
		return false
	}
}

// adopt makes s the current server, unless the turn ended meanwhile.
func (e *Engine) adopt(s *server) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.turn.ended {
		return false
	}
	e.current = s
	e.loads.begin(time.Now())
	return true
}

// serve lets requests through to the current server. It will not have to make room before the given time is over, unless
// nobody uses it.
func (e *Engine) serve(service time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.turn.ended {
		return
	}
	e.loads.done(time.Now())
	e.ready, e.turn.kept, e.failure, e.current.loaded = true, false, nil, time.Now()
	e.answer(nil)
	e.turn.claim.Serving(service)
	e.watchIdle()
}

// load waits until s has loaded its model. stopped is true if the turn ended before.
func (e *Engine) load(s *server, t *turn) (stopped bool, failure *failure) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	loading := newLoading(s, e.timing, e.key.model.sizeBytes)
	for pause := e.timing.poll; ; pause = min(pause*3/2, e.timing.maxPoll) {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.process.exited:
			timer.Stop()
			return false, s.death("the local model server stopped while loading")
		case <-t.claim.Told():
			timer.Stop()
			e.heed()
			continue
		case <-t.stop:
			timer.Stop()
			return true, nil
		}
		if ready, failure := loading.look(ctx); ready || failure != nil {
			return false, failure
		}
	}
}

// attend waits for the end of a server that takes requests. It returns no failure if the server was asked to stop.
func (e *Engine) attend(s *server, t *turn) *failure {
	ctx, cancel := context.WithCancel(context.Background())
	hung := make(chan *failure, 1)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel()
	watch.Go(func() { hung <- s.watch(ctx, e.timing, e.busy) })
	for stopped := false; !stopped; {
		select {
		case <-s.process.exited:
			return s.death("the local model server stopped")
		case failure := <-hung:
			s.process.kill()
			return failure
		case <-t.claim.Told():
			e.heed()
		case <-t.stop:
			if !e.saves() {
				return nil
			}
			stopped = true
		}
	}
	saving, cancelSaving := e.caching(s.process.exited)
	defer cancelSaving()
	s.save(saving)
	return nil
}

// saves reports whether the process is to be ended after its prompts are saved, and not by free.
func (e *Engine) saves() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.closed || e.saving
}

// busy reports whether somebody waits for the server.
func (e *Engine) busy() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pins > 0
}
