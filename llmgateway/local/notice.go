package local

import "time"

// Change is what became of an engine's process.
type Change string

const (
	// Loaded means that the model takes requests.
	Loaded Change = "loaded"
	// Unloaded means that it was loaded and was asked to go.
	Unloaded Change = "unloaded"
	// Failed means that it could not be loaded, or died.
	Failed Change = "failed"
)

// Notice tells of a change.
type Notice struct {
	Change Change
	// Took is how long loading took, or how long the process was there.
	Took time.Duration
	// Bytes is how much memory the model is estimated to take.
	Bytes uint64
	// Reason says why it failed.
	Reason string
}

// notify tells of a change, if somebody wants to know.
func (e *Engine) notify(n Notice) {
	if e.Notify == nil {
		return
	}
	if found, failure := e.files.check(e.key.Config, e.timing.recheck); failure == nil {
		n.Bytes = found.bytes
	}
	e.Notify(n)
}
