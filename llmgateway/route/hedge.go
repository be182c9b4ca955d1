package route

import (
	"context"
	"iter"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// Hedge says when a second target is asked as well because the first has not begun to answer. Whoever begins first answers,
// and the other is given up. It may be used by many goroutines at once. Its fields are not changed after first use.
type Hedge struct {
	// After is how long the first target may be silent. 0 means longer than 19 of 20 of its answers took to their first
	// event, once there were some.
	After time.Duration
	// Share is the part of requests, in (0, 1], for which a second target may be asked.
	Share float64

	mu     sync.Mutex // guards what follows
	debt   float64    // second targets that were asked, less what requests have paid for them, Share each
	starts map[*Target]*starts
}

// maxCredit bounds how many requests in a row may get a second target after a time in which none needed it.
const maxCredit = 10

// starts are the latest times that a target took to begin.
type starts struct {
	times []time.Duration
	at    int
}

const (
	keptStarts = 100
	// fewStarts is how many must be known before they say what is unusual.
	fewStarts = 20
)

// arrived takes in a request, and returns how long its first target may be silent.
func (h *Hedge) arrived(t *Target) (after time.Duration, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.debt = max(h.debt-h.Share, -maxCredit)
	if h.After > 0 {
		return h.After, true
	}
	s := h.starts[t]
	if s == nil || len(s.times) < fewStarts {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(s.times))
	return sorted[int(math.Ceil(0.95*float64(len(sorted))))-1], true
}

// rounding is less than any share and more than what sums of shares are wrong by.
const rounding = 1e-6

// take reports whether a second target may be asked, and counts it.
func (h *Hedge) take() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.debt > rounding {
		return false
	}
	h.debt++
	return true
}

// began takes in how long a target took to begin, or took at least.
func (h *Hedge) began(t *Target, took time.Duration) {
	if h.After > 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.starts == nil {
		h.starts = make(map[*Target]*starts)
	}
	s := h.starts[t]
	if s == nil {
		s = new(starts)
		h.starts[t] = s
	}
	if len(s.times) < keptStarts {
		s.times = append(s.times, took)
		return
	}
	s.times[s.at] = took
	s.at = (s.at + 1) % keptStarts
}

// hedged reports whether the next attempt may get a rival.
func (u *run) hedged() bool {
	return u.router.Hedge != nil && u.attempts == 1 && len(u.left) > 0 && u.req.Operation != llmgateway.Embeddings && u.streams()
}

// streams reports whether all targets can be asked to stream. One that answers in the words of another API can only if the
// client wants a stream.
func (u *run) streams() bool {
	return u.req.Native == nil || u.req.ClientStream || !slices.ContainsFunc(u.router.Targets, func(t *Target) bool {
		return t.native(t.provider(u.req.Model), u.req) != nil
	})
}

// rival chooses a second target, one that is up and has not been tried. It does not wait.
func (u *run) rival(ctx context.Context) (choice, bool) {
	if len(u.left) == 0 || slices.IndexFunc(u.left, func(t *Target) bool { return !t.closed() }) < 0 || !u.router.Hedge.take() {
		return choice{}, false
	}
	return u.next(ctx)
}

// contender is an attempt that may run at the same time as another. Its goroutine ranges over its events until one carries
// something; if it wins, whoever asked goes on from there.
type contender struct {
	*attempt
	cancel context.CancelCauseFunc
	next   func() (llmgateway.Event, error, bool)
	stop   func()

	// opened is closed when what follows is set: the events up to the first that carries something, or why there is none.
	opened chan struct{}
	took   time.Duration
	held   []llmgateway.Event
	err    error
	word   error    // err as the attempt tells it
	told   []func() // calls of hooks, by who does not know of the goroutine

	live   bool // it has won, and what it tells is told at once
	judged bool
	won    chan bool     // says what becomes of it
	done   chan struct{} // closed when the goroutine has ended
	fear   any           // what the attempt panicked with
}

// enter starts a contender. It must be awaited.
func (a *answer) enter(ctx context.Context, target choice) *contender {
	ctx, attempt := a.begin(ctx, target)
	c := &contender{attempt: attempt, opened: make(chan struct{}), won: make(chan bool, 1), done: make(chan struct{})}
	ctx = llmgateway.WithTrace(ctx, c.trace(a.trace))
	ctx, c.cancel = context.WithCancelCause(ctx)
	if c.req.Operation != llmgateway.Embeddings {
		c.req.Stream = true // so that a long answer can be told from silence
	}
	c.next, c.stop = iter.Pull2(c.events(ctx))
	go c.run(ctx)
	return c
}

// trace returns hooks that keep what they are told until the contender has won.
func (c *contender) trace(t *llmgateway.Trace) *llmgateway.Trace {
	later := func(hook func()) {
		if c.live {
			hook()
			return
		}
		c.told = append(c.told, hook)
	}
	kept := llmgateway.Trace{Sending: t.Sending}
	if t.Cached != nil {
		kept.Cached = func(use llmgateway.CacheUse) { later(func() { t.Cached(use) }) }
	}
	if t.Inherited != nil {
		kept.Inherited = func() { later(t.Inherited) }
	}
	return &kept
}

// run is the contender's goroutine.
func (c *contender) run(ctx context.Context) {
	defer close(c.done)
	defer func() { c.fear = recover() }()
	func() {
		defer close(c.opened)
		c.err = errNoAnswer // should it panic
		c.err = c.open(ctx)
		c.took = time.Since(c.began)
	}()
	if !<-c.won {
		c.stop()
	}
}

func (c *contender) open(ctx context.Context) error {
	for {
		event, err, ok := c.next()
		switch {
		case !ok:
			return cause(ctx, errNoAnswer)
		case err != nil:
			c.word = lastWord(ctx, err)
			return cause(ctx, err)
		case event.Carries:
			c.held = append(c.held, event)
			return nil
		}
		c.held = hold(c.held, event)
	}
}

// judge says whether the contender's events are wanted.
func (c *contender) judge(wanted bool) {
	if !wanted {
		c.cancel(errOutrun)
	}
	c.judged = true
	c.won <- wanted
}

// errOutrun is the cause of a contender's end. It is not a client that leaves: a model that is being loaded for it is of use
// to the next.
var errOutrun = &llmgateway.Error{Kind: llmgateway.Overloaded, Message: "another target was faster"}

// await waits for the end of a contender's goroutine, and gives up one that was not judged.
func (a *answer) await(c *contender) {
	if !c.judged {
		c.judge(false)
	}
	<-c.done
	c.cancel(nil)
	a.account(c.attempt, c.word)
	if c.fear != nil {
		panic(c.fear)
	}
}

// rest yields the events of a contender that has won.
func (c *contender) rest(yield func(llmgateway.Event, error) bool) {
	defer c.stop()
	for _, event := range c.held {
		if !yield(event, nil) {
			return
		}
	}
	for {
		event, err, ok := c.next()
		if !ok || !yield(event, err) {
			return
		}
	}
}

// race asks a target and, if it is silent for too long, another. done is true if the request has been given all it will get.
func (a *answer) race(ctx context.Context, target choice) (done bool) {
	hedge := a.run.router.Hedge
	first := a.enter(ctx, target)
	defer a.await(first)
	if after, ok := hedge.arrived(target.Target); ok && !first.opens(after) {
		if rival, ok := a.run.rival(ctx); ok {
			second := a.enter(ctx, rival)
			defer a.await(second)
			return a.decide(ctx, first, second)
		}
	}
	<-first.opened
	return a.settle(ctx, first, nil)
}

// opens waits for the contender that long at most, and reports whether it has opened.
func (c *contender) opens(within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-c.opened:
		return true
	case <-timer.C:
		return false
	}
}

// decide waits for the first of two to begin.
func (a *answer) decide(ctx context.Context, one, other *contender) (done bool) {
	select {
	case <-one.opened:
	case <-other.opened:
		one, other = other, one
	}
	if one.err == nil {
		return a.settle(ctx, one, other)
	}
	if a.settle(ctx, one, nil); a.run.final != nil {
		return false // what is wrong with the request is wrong everywhere
	}
	<-other.opened
	return a.settle(ctx, other, nil)
}

// settle passes on the answer of a contender that has opened, or takes in its failure. A rival that is still running is given
// up.
func (a *answer) settle(ctx context.Context, c, rival *contender) (done bool) {
	hedge := a.run.router.Hedge
	if c.err != nil {
		c.judge(false)
		a.account(c.attempt, c.word)
		a.failed(c.attempt, c.err)
		return false
	}
	hedge.began(c.Target, c.took)
	if rival != nil {
		hedge.began(rival.Target, time.Since(rival.began))
		rival.judge(false)
		a.outrun(rival.attempt)
	}
	c.judge(true)
	<-c.done
	c.live = true
	for _, hook := range c.told {
		hook()
	}
	events := iter.Seq2[llmgateway.Event, error](c.rest)
	if !a.run.req.Stream {
		events = openai.Merge(events)
	}
	return a.answerWith(ctx, c.attempt, events)
}
