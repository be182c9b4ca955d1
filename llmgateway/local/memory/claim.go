package memory

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// errCrowded is why a claim that takes nothing from others gets nothing.
var errCrowded = errors.New("the memory is needed for other models")

// Manner is what an engine does to others for its memory.
type Manner int

const (
	// Eager claims make others go.
	Eager Manner = iota
	// Gentle claims wait for memory that is free, until a request comes: then they are eager.
	Gentle
	// Meek claims take what is free, at once or not at all.
	Meek
)

// Claim is an engine's wish for memory, and its right to it once it is granted. [Budget.Enter] makes one, and Release ends it.
type Claim struct {
	budget *Budget
	engine string
	manner Manner

	// granted is closed when the claim has its memory or, with err, will have none.
	granted chan struct{}
	// told has an element when asked may have changed.
	told chan struct{}

	// budget.mu guards what follows.
	bytes    uint64
	sized    bool      // bytes is known
	err      error     // set before granted is closed
	held     bool      // it has its memory
	ready    bool      // its server takes requests
	settled  time.Time // when a ready server has served for long enough to be sent away with requests
	leaving  bool      // it is asked to go
	gone     bool      // its process is ending, and nothing can stop that
	requests int       // that need the engine
	used     time.Time // when it last had one
}

// Enter adds a claim behind those that are there. It gets nothing before its size is known.
func (b *Budget) Enter(engine string, manner Manner, requests int) *Claim {
	c := &Claim{
		budget: b, engine: engine, manner: manner, requests: requests, used: time.Now(),
		granted: make(chan struct{}), told: make(chan struct{}, 1),
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claims = append(b.claims, c)
	return c
}

// Granted returns a channel that is closed when the claim has its memory or, as Err tells, will have none.
func (c *Claim) Granted() <-chan struct{} { return c.granted }

// Err returns why the claim will have no memory, or nil. It is meant for when Granted's channel is closed.
func (c *Claim) Err() error {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	return c.err
}

// Told returns a channel that has an element when Asked may have changed.
func (c *Claim) Told() <-chan struct{} { return c.told }

// Manner returns the manner that the claim was entered with.
func (c *Claim) Manner() Manner { return c.manner }

// Held reports whether the claim has its memory.
func (c *Claim) Held() bool {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	return c.held
}

// Shortage says that a claim waits, and for what, or nothing.
func (c *Claim) Shortage() string {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if !c.waits() {
		return ""
	}
	return fmt.Sprintf("waiting for memory: it needs about %s, and %s of %s are in use",
		formatBytes(c.bytes), formatBytes(b.used()), formatBytes(b.max()))
}

// Size tells how much memory the claim is for.
func (c *Claim) Size(bytes uint64) {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	c.bytes, c.sized = bounded(bytes), true
	c.budget.schedule()
}

// Need tells how many requests need the engine now.
func (c *Claim) Need(requests int) {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	before := c.requests
	c.requests = requests
	c.used = time.Now()
	if (before == 0) != (requests == 0) {
		b.schedule()
	}
}

// Serving tells that the engine takes requests, and that it shall be allowed to do so for some time.
func (c *Claim) Serving(service time.Duration) {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	c.ready, c.settled = true, time.Now().Add(service)
	c.budget.schedule()
}

// Asked reports whether the engine is to go: at once, or when no generation runs any more. It may be taken back.
func (c *Claim) Asked() bool {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	return c.leaving
}

// Going tells that the engine ends its process.
func (c *Claim) Going() {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	c.gone = true
	c.budget.schedule()
}

// Release gives the memory back, or the wish for it up.
func (c *Claim) Release() {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claims = slices.DeleteFunc(b.claims, func(other *Claim) bool { return other == c })
	b.schedule()
}

// decide ends the waiting of a claim. mu is held.
func (c *Claim) decide(err error) {
	c.held, c.err = err == nil, err
	c.used = time.Now()
	close(c.granted)
}

// waits reports whether the claim can be granted. mu is held.
func (c *Claim) waits() bool { return c.sized && !c.held && !c.gone && c.err == nil }
