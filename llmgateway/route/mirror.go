package route

import (
	"context"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Mirror sends copies of some requests to a model under test, and tells how it did. Nothing of it reaches the client: a copy is
// sent once the real answer has begun, by a goroutine of its own, which belongs to the Mirror.
type Mirror struct {
	// Target is the model under test. Its deadlines bound a copy. It should have no Cache.
	Target *Target
	// Share is the share of requests to copy, from 0 to 1.
	Share float64
	// Most is how many copies may be under way. More are dropped.
	Most int
	// Report is told how each copy ended. It is called by many goroutines at once.
	Report func(Copy)
	// Context returns what a copy's context is made of; nil means the background.
	Context func() context.Context

	chance func() float64 // returns a number in [0, 1) for a request; nil means a random one

	mu      sync.Mutex // guards the fields below
	running map[*context.CancelCauseFunc]struct{}
	closed  bool
	copies  sync.WaitGroup // goroutines; none is added once closed is set
}

// Copy is how a copy of a request ended. It holds nothing of what was asked and answered.
type Copy struct {
	// Provider and Model name the target.
	Provider, Model string
	// Duration is the time that the answer took, FirstToken that to its first event that carries something.
	Duration, FirstToken time.Duration
	// Usage is the tokens, or nil if nobody counted them.
	Usage *llmgateway.Usage
	// Dropped is true if the copy was not sent, as too many were under way.
	Dropped bool
	// Err is why it failed, or nil.
	Err error
}

// errMirrorClosed ends copies whose configuration goes.
var errMirrorClosed = &llmgateway.Error{Kind: llmgateway.Canceled, Message: "the configuration goes"}

// watch passes an answer on, and copies the request once it has begun. A nil Mirror copies nothing, and none copies a request that
// names a provider: its client wants that one.
func (m *Mirror) watch(req *llmgateway.Request, events iter.Seq2[llmgateway.Event, error]) iter.Seq2[llmgateway.Event, error] {
	if m == nil || req.Provider != "" || !m.draw() {
		return events
	}
	return func(yield func(llmgateway.Event, error) bool) {
		begun := false
		for event, err := range events {
			on := yield(event, err)
			if !begun && err == nil {
				begun = true
				m.send(req)
			}
			if !on {
				return
			}
		}
	}
}

// draw decides by chance whether a request is copied.
func (m *Mirror) draw() bool {
	chance := rand.Float64
	if m.chance != nil {
		chance = m.chance
	}
	return chance() < m.Share
}

// send sends a copy, and returns at once.
func (m *Mirror) send(req *llmgateway.Request) {
	c := Copy{Provider: m.Target.Name, Model: m.Target.model(req.Model)}
	base := context.Background()
	if m.Context != nil {
		base = m.Context()
	}
	ctx, cancel := context.WithCancelCause(base)
	if room, closed := m.enter(&cancel); !room {
		cancel(nil)
		if !closed {
			c.Dropped = true
			m.Report(c)
		}
		return
	}
	copied := *req
	copied.Native = nil // its body does not stay
	copied.Model = c.Model
	// The bytes stay until the copy has been sent, whatever becomes of the real request meanwhile.
	req.Body.Retain()
	go func() {
		defer m.leave(&cancel)
		defer copied.Body.Release()
		m.ask(ctx, &copied, &c)
		m.Report(c)
	}()
}

// enter takes a place for a copy, if there is one.
func (m *Mirror) enter(cancel *context.CancelCauseFunc) (room, closed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || len(m.running) >= m.Most {
		return false, m.closed
	}
	if m.running == nil {
		m.running = make(map[*context.CancelCauseFunc]struct{})
	}
	m.running[cancel] = struct{}{}
	m.copies.Add(1)
	return true, false
}

func (m *Mirror) leave(cancel *context.CancelCauseFunc) {
	(*cancel)(nil)
	m.mu.Lock()
	delete(m.running, cancel)
	m.mu.Unlock()
	m.copies.Done()
}

// ask asks the target and takes in how it did.
func (m *Mirror) ask(ctx context.Context, req *llmgateway.Request, c *Copy) {
	began := time.Now()
	defer func() { c.Duration = time.Since(began) }()
	if err := (&run{req: req, demand: demand{req: req}}).unfit(m.Target); err != nil {
		c.Err = err
		return
	}
	for event, err := range unpanicked(m.Target.generate(ctx, req, true)) {
		if err != nil {
			c.Err = cause(ctx, err)
			return
		}
		if event.Carries && c.FirstToken == 0 {
			c.FirstToken = time.Since(began)
		}
		if event.Usage != nil {
			usage := *event.Usage
			c.Usage = &usage
		}
	}
	if c.FirstToken == 0 {
		c.Err = cause(ctx, &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the provider ended without an answer"})
	}
}

// Close ends all copies that are under way and waits for their goroutines. Later requests are not copied.
func (m *Mirror) Close() {
	m.mu.Lock()
	m.closed = true
	for cancel := range m.running {
		(*cancel)(errMirrorClosed)
	}
	m.mu.Unlock()
	m.copies.Wait()
}
