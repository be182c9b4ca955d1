package local

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Engine is one llama-server process for one [Key], started when it is first needed and started again when it dies.
//
// Configurations hold it through a pool, whose last holder calls [Engine.Destruct]; generations hold it through leases.
// The process ends when nobody holds it. All methods may be called from many goroutines.
type Engine struct {
	key    Key
	logger *slog.Logger
	timing timing
	shared *Shared
	queue  *queue
	files  files

	// closing is closed when the last holder lets go, done when nothing is left after that.
	closing, done chan struct{}

	mu       sync.Mutex // guards what follows
	changed  chan struct{}
	running  bool    // supervise runs
	current  *server // starting, ready or stopping; nil between two
	ready    bool    // current takes requests
	closed   bool
	saving   bool             // it was closed with prompts to save
	pins     int              // leases, and requests that wait for one
	wishes   []*time.Duration // of KeepAlive
	idle     *time.Timer      // unloads
	failures int              // in a row
	failure  *failure         // of the last try, or nil
	// lastFailure outlives the recovery from it.
	lastFailure *failure
	retryAt     time.Time // no new try before it
}

// timing is when an engine does things. Tests have less time.
type timing struct {
	poll, maxPoll         time.Duration // between two looks at a server that loads
	load                  time.Duration // most that loading may take, besides the time to read the file
	listen                time.Duration // most that llama-server takes to listen
	stall                 time.Duration // without a sign of life that a server that loads may take
	check                 time.Duration // between two looks at a server that serves, and most that a look may take
	silences              int           // looks in a row without an answer before a server is killed
	stuck                 time.Duration // most that the main loop of a server with requests may take for one batch
	backoff, maxBackoff   time.Duration // before the next try, doubled by each that fails
	tries                 int           // that fail in a row before the engine counts as failed
	cooldown, maxCooldown time.Duration // before a failed engine may be tried again
	recheck               time.Duration // before missing files are looked for again
	stable                time.Duration // of running that makes up for earlier failures, as an answer does
	patience              time.Duration // from SIGTERM to SIGKILL
	caching               time.Duration // most that saving or restoring prompts may take
	// innocent is how soon a server must end after a request was sent to have been on its way out already: a process that
	// is killed takes connections until the last of its threads is gone. It counts once for a request; a second time it is
	// no chance.
	innocent time.Duration
}

var defaultTiming = timing{
	poll: 20 * time.Millisecond, maxPoll: 250 * time.Millisecond,
	load:   30 * time.Minute,
	listen: 2 * time.Minute,
	stall:  2 * time.Minute,
	check:  10 * time.Second, silences: 3, stuck: 5 * time.Minute,
	backoff: 500 * time.Millisecond, maxBackoff: 30 * time.Second,
	tries:    3,
	cooldown: 30 * time.Second, maxCooldown: 5 * time.Minute,
	recheck:  2 * time.Second,
	stable:   30 * time.Second,
	patience: 10 * time.Second,
	caching:  30 * time.Second,
	innocent: 50 * time.Millisecond,
}

// NewEngine returns an engine that is held once. It starts nothing yet.
func NewEngine(key Key, logger *slog.Logger) *Engine {
	e := &Engine{
		key:     key,
		logger:  logger.With("engine", key.Name()),
		timing:  defaultTiming,
		queue:   newQueue(key.slots()),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
		changed: make(chan struct{}),
	}
	e.shared = NewShared(e.free)
	return e
}

// Key returns what the engine was made for.
func (e *Engine) Key() Key { return e.key }

// Lease is the right to send requests to an engine's server, which does not end before the lease is released, unless
// it crashes.
type Lease struct {
	server  *server
	release func()
}

// Release gives the lease back. It may be called more than once.
func (l *Lease) Release() { l.release() }

// Acquire waits until the model is loaded, and starts to load it if need be. When ctx ends first, loading goes on, so
// that the next request finds the model ready. If the model cannot be loaded, the error is an [llmgateway.Error] of kind
// Overloaded: somebody else may answer.
func (e *Engine) Acquire(ctx context.Context) (*Lease, error) {
	unshare, err := e.hold()
	if err != nil {
		return nil, err
	}
	release := sync.OnceFunc(func() {
		e.unpin()
		unshare()
	})
	server, err := e.await(ctx)
	if err != nil {
		release()
		return nil, err
	}
	return &Lease{server: server, release: release}, nil
}

// hold keeps the engine from being closed, though not its server from being unloaded. It fails with [ErrClosed] if
// everybody has let go already.
func (e *Engine) hold() (release func(), err error) {
	release, err = e.shared.Acquire()
	if err != nil {
		return nil, errUnloaded
	}
	return release, nil
}

var errUnloaded = &llmgateway.Error{Kind: llmgateway.Overloaded, Message: "the local model was unloaded", Err: ErrClosed}

func (e *Engine) await(ctx context.Context) (*server, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pin()
	for waited := false; !e.ready; waited = true {
		if waited && !e.running && e.failure != nil {
			return nil, e.failure.asError(time.Until(e.retryAt))
		}
		if err := e.want(); err != nil {
			return nil, err
		}
		changed := e.changed
		e.mu.Unlock()
		select {
		case <-changed:
			e.mu.Lock()
		case <-ctx.Done():
			e.mu.Lock()
			return nil, fmt.Errorf("waiting for the local model to load: %w", context.Cause(ctx))
		}
	}
	return e.current, nil
}

// Preload starts to load the model and returns at once.
func (e *Engine) Preload() {
	e.mu.Lock()
	defer e.mu.Unlock()
	_ = e.want() // what is wrong is in Status, and the next Acquire tells it
}

// want makes sure that a server runs or will. mu is held.
func (e *Engine) want() error {
	switch {
	case e.running:
	case e.closed:
		return errUnloaded
	case time.Now().Before(e.retryAt):
		return e.failure.asError(time.Until(e.retryAt))
	default:
		e.running = true
		go e.supervise()
	}
	return nil
}

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

// pin notes that there is work. mu is held.
func (e *Engine) pin() {
	e.pins++
	e.watchIdle()
}

func (e *Engine) unpin() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pins--
	e.watchIdle()
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
			e.ready = false
			close(server.unload)
			e.notify()
		}
	})
}

// Status implements llmgateway.Reporter.
func (e *Engine) Status() llmgateway.Status {
	status, known := e.state()
	if known {
		return status
	}
	if _, failure := e.files.check(e.key.Config, e.timing.recheck); failure != nil {
		return llmgateway.Status{State: llmgateway.StateFailed, Detail: failure.detail}
	}
	return status
}

// state returns what the engine does. known is false if it does nothing, and whether it could do something depends on
// its files.
func (e *Engine) state() (status llmgateway.Status, known bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return llmgateway.Status{State: llmgateway.StateFailed, Detail: "unloaded"}, true
	case e.ready:
		return llmgateway.Status{State: llmgateway.StateReady}, true
	case e.running && e.failure != nil:
		return llmgateway.Status{State: llmgateway.StateLoading, Detail: "again, since " + e.failure.detail}, true
	case e.running:
		return llmgateway.Status{State: llmgateway.StateLoading}, true
	case e.failure == nil || e.failure.files:
		return llmgateway.Status{State: llmgateway.StateIdle}, false
	case time.Now().Before(e.retryAt):
		return llmgateway.Status{State: llmgateway.StateFailed, Detail: e.failure.detail}, true
	default:
		return llmgateway.Status{State: llmgateway.StateIdle, Detail: "the next request tries again, since " + e.failure.detail}, false
	}
}

// Waiting returns how many requests wait for a slot.
func (e *Engine) Waiting() int { return e.queue.length() }

// Destruct lets go of the engine on behalf of all configurations. It returns at once: the process ends when the last
// lease is released.
func (e *Engine) Destruct() error { return e.shared.Destruct() }

// Done is closed when the engine has been let go of by everybody and its process has ended.
func (e *Engine) Done() <-chan struct{} { return e.done }

// free ends the server. It runs once, when nobody needs it any more, and does not wait, but it does what must be done if
// the gateway exits right after it.
func (e *Engine) free() {
	e.mu.Lock()
	defer e.mu.Unlock()
	// Only supervise can wait for the prompts to be saved. See Settle.
	e.saving = e.current != nil && e.current.served && e.current.cache != nil
	e.closed, e.ready = true, false
	e.watchIdle()
	close(e.closing)
	if e.current != nil && !e.saving {
		e.current.process.terminate()
		sockets.release(e.current.socket)
	}
	if !e.running {
		close(e.done)
	}
	e.notify()
}

// notify wakes all who wait for a change. mu is held.
func (e *Engine) notify() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// Interface guards
var (
	_ llmgateway.Reporter           = (*Engine)(nil)
	_ interface{ Destruct() error } = (*Engine)(nil)
)
