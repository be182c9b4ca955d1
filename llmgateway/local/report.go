package local

import (
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local/memory"
)

// Status implements llmgateway.Reporter.
func (e *Engine) Status() llmgateway.Status {
	status, known := e.state()
	if known {
		return status
	}
	found, failure := e.files.check(e.key.Config, e.timing.recheck)
	if failure == nil {
		if err := e.budget.Refuse(found.bytes); err != nil {
			failure = tooLarge(err)
		}
	}
	if failure != nil {
		return llmgateway.Status{State: llmgateway.StateFailed, Detail: failure.detail}
	}
	return status
}

// state returns what the engine does. known is false if it does nothing, and whether it could do something depends on
// its files and on the budget.
func (e *Engine) state() (status llmgateway.Status, known bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return llmgateway.Status{State: llmgateway.StateFailed, Detail: "unloaded"}, true
	case e.ready:
		return llmgateway.Status{State: llmgateway.StateReady}, true
	case e.turn != nil:
		return e.progress(), true
	case e.failure == nil || e.failure.files:
		return llmgateway.Status{State: llmgateway.StateIdle}, false
	case time.Now().Before(e.retryAt):
		return llmgateway.Status{State: llmgateway.StateFailed, Detail: e.failure.detail}, true
	default:
		return llmgateway.Status{State: llmgateway.StateIdle, Detail: "the next request tries again, since " + e.failure.detail}, false
	}
}

// progress returns what an engine is about that is not ready. mu is held.
func (e *Engine) progress() llmgateway.Status {
	status := llmgateway.Status{State: llmgateway.StateLoading}
	shortage := e.turn.claim.Shortage()
	switch {
	case e.turn.ended && e.pins == 0:
		status.State, status.Detail = llmgateway.StateIdle, "unloading"
	case e.draining:
		status.Detail = "making room for another model; loaded again for the next request"
	case shortage != "" && e.turn.claim.Manner() == memory.Gentle && e.pins == 0:
		status.State, status.Detail = llmgateway.StateIdle, "not preloaded, "+shortage
	case shortage != "":
		status.Detail = shortage
	case e.failure != nil:
		status.Detail = "again, since " + e.failure.detail
	}
	return status
}

// Report says all about an engine that operators need. It holds no secrets, and no paths.
type Report struct {
	// Name is what the model is called, ModelFile what its file is called.
	Name      string `json:"name"`
	ModelFile string `json:"model_file"`

	llmgateway.Status

	// EstimatedBytes is how much memory it takes when it is loaded. It is 0 if its file cannot be read.
	EstimatedBytes uint64 `json:"estimated_bytes,omitempty"`
	// Resident is true while it has memory: from when it begins to load to the end of its process.
	Resident bool `json:"resident"`
	// PID is the number of its process, or 0 if there is none.
	PID int `json:"pid,omitempty"`
	// LoadedAt is when it began to take requests. It is zero if it does not.
	LoadedAt time.Time `json:"loaded_at,omitzero"`

	// Running is how many generations run, Waiting how many requests wait for the model, for memory or for their turn.
	Running int `json:"running"`
	Waiting int `json:"waiting"`

	// LastFailure is the last failure, also one that it has recovered from, or nil.
	LastFailure *Failure `json:"last_failure,omitempty"`
}

// Report returns how the engine is.
func (e *Engine) Report() Report {
	r := Report{
		Name: e.key.Name(), Status: e.Status(), LastFailure: e.LastFailure(),
	}
	if e.key.ModelPath != "" {
		r.ModelFile = filepath.Base(e.key.ModelPath)
	}
	if found, failure := e.files.check(e.key.Config, e.timing.recheck); failure == nil {
		r.EstimatedBytes = found.bytes
	}
	if r.LastFailure != nil {
		for i, line := range r.LastFailure.Lines {
			r.LastFailure.Lines[i] = e.key.withoutFolders(line)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	r.Waiting = e.pins
	if e.turn != nil {
		r.Resident = e.turn.claim.Held()
	}
	if s := e.current; s != nil {
		r.PID, r.LoadedAt = s.process.cmd.Process.Pid, s.loaded
		r.Running = s.leases
		r.Waiting -= s.leases
	}
	return r
}

// withoutFolders shortens the paths in a line to the names of files.
func (c Config) withoutFolders(line string) string {
	for _, path := range []string{c.ModelPath, c.MMProj, c.Binary, c.Command.Program} {
		if path != "" { // these may hold spaces
			line = strings.ReplaceAll(line, path, filepath.Base(path))
		}
	}
	return folders.ReplaceAllString(line, "$1")
}

// folders matches an absolute path up to its last slash.
var folders = regexp.MustCompile(`(^|[^\w.~/-])(?:/[^/\s'":;,()]+)+/`)
