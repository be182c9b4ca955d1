package local

import (
	"slices"
	"time"
)

// KeepAlive asks the engine to unload its model when there was no request for that long; 0 asks to keep it. The longest
// of all wishes counts, until it is withdrawn. Without any the model is kept.
func (e *Engine) KeepAlive(d time.Duration) (withdraw func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	wish := &d
	e.wishes = append(e.wishes, wish)
	e.watchIdle()
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.wishes = slices.DeleteFunc(e.wishes, func(other *time.Duration) bool { return other == wish })
		e.watchIdle()
	}
}

// keepAlive returns the longest wish, or 0. mu is held.
func (e *Engine) keepAlive() time.Duration {
	longest := time.Duration(0)
	for _, wish := range e.wishes {
		if *wish <= 0 {
			return 0
		}
		longest = max(longest, *wish)
	}
	return longest
}

// watchIdle sets the timer that unloads the model exactly if nobody needs it. mu is held.
func (e *Engine) watchIdle() {
	if e.idle != nil {
		e.idle.Stop()
		e.idle = nil
	}
	keepAlive := e.keepAlive()
	if e.pins > 0 || !e.ready || keepAlive == 0 {
		return
	}
	server := e.current
	e.idle = time.AfterFunc(keepAlive, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.pins == 0 && e.ready && e.current == server {
			e.end()
		}
	})
}
