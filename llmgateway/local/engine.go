package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local/memory"
)

// Engine is one llama-server process for one [Key], started when it is first needed and started again when it dies.
//
// Configurations hold it through a pool, whose last holder calls [Engine.Destruct]; generations hold it through leases.
// The process ends when nobody holds it. All methods may be called from many goroutines.
type Engine struct {
	// Notify is told when the model was loaded or unloaded, or failed. It must return soon. It is not changed after first use.
	Notify func(Notice)

	key    Key
	budget *memory.Budget
	logger *slog.Logger
	timing timing
	shared *Shared
	queue  *queue
	files  files

	// done is closed when nothing is left after the last holder has let go.
	done chan struct{}

	mu       sync.Mutex // guards what follows; the budget's comes after it
	turn     *turn      // of supervise, or nil if it does not run
	current  *server    // starting, serving or stopping; nil between two
	ready    bool       // current takes requests
	draining bool       // current finishes what runs, and goes
	closed   bool
	saving   bool                 // it was closed with prompts to save
	pins     int                  // requests that need the engine: generations, and those that wait for one
	waiters  map[*waiter]struct{} // of pins, those that wait for a server
	wishes   []*time.Duration     // of KeepAlive
	idle     *time.Timer          // unloads
	failures int                  // in a row
	failure  *failure             // of the last try, or nil
	// lastFailure outlives the recovery from it.
	lastFailure *failure
	retryAt     time.Time // no new try before it
	loads       loadTime
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
	// A server is let serve for as long as it took to load before its memory may go to another model, but for these at
	// least and at most.
	service, maxService time.Duration
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
	service:  time.Second, maxService: time.Minute,
	innocent: 50 * time.Millisecond,
}

// NewEngine returns an engine that is held once, and takes its memory from budget. It starts nothing yet.
func NewEngine(key Key, budget *memory.Budget, logger *slog.Logger) *Engine {
	e := &Engine{
		key:     key,
		budget:  budget,
		logger:  logger.With("engine", key.Name()),
		timing:  defaultTiming,
		queue:   newQueue(key.slots(), cmp.Or(key.NBatch, 2048)),
		done:    make(chan struct{}),
		waiters: make(map[*waiter]struct{}),
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

// Acquire waits until the model is loaded, and starts to load it if need be. When ctx is canceled, as by a client that
// leaves, a load that nobody waits for any more is given up. When ctx ends for any other cause, such as a router's that
// asks another target, loading goes on, so that the next request finds the model ready. If the model cannot be loaded,
// the error is an [llmgateway.Error] of kind Overloaded: somebody else may answer.
func (e *Engine) Acquire(ctx context.Context) (*Lease, error) {
	release, err := e.hold(ctx)
	if err != nil {
		return nil, err
	}
	lease, err := e.lease(ctx)
	if err != nil {
		release()
		return nil, err
	}
	return &Lease{server: lease.server, release: sync.OnceFunc(func() {
		lease.Release()
		release()
	})}, nil
}

// hold notes that a request needs the engine, until it is released, and keeps the engine from being closed, though not
// its server from being unloaded. It fails with [ErrClosed] if everybody has let go already.
func (e *Engine) hold(ctx context.Context) (release func(), err error) {
	unshare, err := e.shared.Acquire()
	if err != nil {
		return nil, errUnloaded
	}
	e.pin()
	return sync.OnceFunc(func() {
		e.unpin(sentAway(ctx))
		unshare()
	}), nil
}

var errUnloaded = &llmgateway.Error{Kind: llmgateway.Overloaded, Message: "the local model was unloaded", Err: ErrClosed}

// sentAway reports whether ctx has ended because somebody did not want to wait any longer, and not because whoever asked has
// left.
func sentAway(ctx context.Context) bool {
	return ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.Canceled)
}

// waiter is a request that waits for a server.
type waiter struct {
	served chan struct{} // closed when lease or err is set
	lease  *Lease
	err    error
}

// lease waits for a server on behalf of somebody who holds the engine.
func (e *Engine) lease(ctx context.Context) (*Lease, error) {
	e.mu.Lock()
	if e.ready {
		defer e.mu.Unlock()
		return e.grant(), nil
	}
	if err := e.want(memory.Eager); err != nil {
		e.mu.Unlock()
		return nil, err
	}
	w := &waiter{served: make(chan struct{})}
	e.waiters[w] = struct{}{}
	e.mu.Unlock()
	select {
	case <-w.served:
		return w.lease, w.err
	case <-ctx.Done():
	}
	e.mu.Lock()
	delete(e.waiters, w)
	e.mu.Unlock()
	select {
	case <-w.served:
		return w.lease, w.err // it came just now; whoever got it will see that ctx has ended
	default:
		return nil, fmt.Errorf("waiting for the local model to load: %w", context.Cause(ctx))
	}
}

// grant returns a lease of the current server. mu is held.
func (e *Engine) grant() *Lease {
	server := e.current
	server.leases++
	return &Lease{server: server, release: sync.OnceFunc(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		server.leases--
		e.drained()
	})}
}

// answer ends the waiting of all who wait for a server: they get one, or the error. mu is held.
func (e *Engine) answer(err error) {
	for w := range e.waiters {
		if w.err = err; err == nil {
			w.lease = e.grant()
		}
		close(w.served)
	}
	clear(e.waiters)
}

// Preload starts to load the model and returns at once. It takes memory that is free: if there is not enough, it waits
// until there is, and makes no other model go.
func (e *Engine) Preload() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keepLoading(memory.Gentle)
}

// keepLoading has the model loaded although nobody waits for it. mu is held.
func (e *Engine) keepLoading(manner memory.Manner) {
	_ = e.want(manner) // what is wrong is in Status, and the next Acquire tells it
	if e.loading() {
		e.turn.kept = true
	}
}

// want makes sure that a server runs or will. mu is held.
func (e *Engine) want(manner memory.Manner) error {
	switch {
	case e.turn != nil:
	case e.closed:
		return errUnloaded
	case time.Now().Before(e.retryAt) && !e.failure.mended(e.budget):
		return e.failure.asError(time.Until(e.retryAt))
	default:
		e.retryAt = time.Time{}
		e.begin(manner)
		go e.supervise()
	}
	return nil
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
	e.saving = e.current != nil && !e.current.loaded.IsZero() && e.current.cache != nil
	e.closed, e.ready = true, false
	e.watchIdle()
	if e.current != nil && !e.saving {
		e.current.process.terminate()
		sockets.release(e.current.socket)
	}
	if e.turn != nil {
		e.end()
	} else {
		close(e.done)
	}
}

// Interface guards
var (
	_ llmgateway.Reporter           = (*Engine)(nil)
	_ interface{ Destruct() error } = (*Engine)(nil)
)
