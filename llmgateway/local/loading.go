package local

import (
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local/memory"
)

// loadTime is how long loading takes. The engine's mutex guards it.
type loadTime struct {
	began time.Time // of the load that goes on, or zero
	took  mean      // seconds, of earlier loads
}

func (l *loadTime) begin(now time.Time) { l.began = now }

func (l *loadTime) done(now time.Time) {
	l.took.add(now.Sub(l.began).Seconds())
	l.began = time.Time{}
}

// left returns how long a model that is not loaded needs to be, or 0 if that is not known.
func (l *loadTime) left(now time.Time) time.Duration {
	usual := seconds(l.took.get())
	if l.began.IsZero() {
		return usual
	}
	// A load that takes longer than it should goes on for a while.
	return max(usual-now.Sub(l.began), usual/10)
}

// loadingLeft returns how long it takes until requests can be sent: 0 if the model is loaded, or nobody knows.
func (e *Engine) loadingLeft() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ready {
		return 0
	}
	return e.loads.left(time.Now())
}

// wake has the model loaded although nobody waits for it.
func (e *Engine) wake() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keepLoading(memory.Eager)
}
