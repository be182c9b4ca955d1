package local

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Budget is the memory that all engines of a process share. An engine asks for room before it starts a server, and has it
// until the server's process has ended. When there is not enough, engines that nobody uses go first, the least recently
// used before the others; then busy ones finish what runs, and go. design.md tells the rules.
//
// All methods may be called from many goroutines, and none of them waits.
type Budget struct {
	own uint64

	mu     sync.Mutex // guards what follows, and the claims
	limits []*uint64  // of Limit
	claims []*claim   // in the order in which they came
	timer  *time.Timer
}

// NewBudget returns a budget of so many bytes. 0 means what the machine has, less a reserve.
func NewBudget(maxBytes uint64) *Budget {
	if maxBytes == 0 {
		maxBytes = machineMemory()
	}
	return &Budget{own: bounded(maxBytes)}
}

// bounded keeps sums of two from overflowing, whatever a file's header claims.
func bounded(bytes uint64) uint64 { return min(bytes, 1<<61) }

// Limit sets how many bytes engines may take together, until it is withdrawn; 0 means what NewBudget was given. Of several
// limits the largest counts, so that a configuration that lowers it has no effect before the one before it has gone. If
// engines have more than there is, those go that nobody uses, now or once nobody does.
func (b *Budget) Limit(maxBytes uint64) (withdraw func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if maxBytes == 0 {
		maxBytes = b.own
	}
	maxBytes = bounded(maxBytes)
	limit := &maxBytes
	b.limits = append(b.limits, limit)
	b.schedule()
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.limits = slices.DeleteFunc(b.limits, func(other *uint64) bool { return other == limit })
		b.schedule()
	}
}

// max returns how many bytes there are. mu is held.
func (b *Budget) max() uint64 {
	if len(b.limits) == 0 {
		return b.own
	}
	var largest uint64
	for _, limit := range b.limits {
		largest = max(largest, *limit)
	}
	return largest
}

// used returns how many bytes are taken. mu is held.
func (b *Budget) used() (sum uint64) {
	for _, c := range b.claims {
		if c.held {
			sum += c.bytes
		}
	}
	return sum
}

// refuse returns an error if a model is too large for the whole budget.
func (b *Budget) refuse(bytes uint64) *tooLargeError {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tooLarge(bytes)
}

func (b *Budget) tooLarge(bytes uint64) *tooLargeError {
	if most := b.max(); bounded(bytes) > most {
		return &tooLargeError{bytes: bytes, max: most}
	}
	return nil
}

// tooLargeError is why a model is not loaded whatever else is unloaded.
type tooLargeError struct{ bytes, max uint64 }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("the model needs about %s of memory, and max_memory is %s", formatBytes(e.bytes), formatBytes(e.max))
}

// formatBytes returns a size for people.
func formatBytes(bytes uint64) string {
	if bytes < 1<<30 {
		return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}

// errCrowded is why a claim that takes nothing from others gets nothing.
var errCrowded = errors.New("the memory is needed for other models")

// manner is what an engine does to others for its memory.
type manner int

const (
	// eager claims make others go.
	eager manner = iota
	// gentle claims wait for memory that is free, until a request comes: then they are eager.
	gentle
	// meek claims take what is free, at once or not at all.
	meek
)

// claim is an engine's wish for memory, and its right to it once it is granted. It is entered and released by the engine.
type claim struct {
	budget *Budget
	engine string
	manner manner

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

// enter adds a claim behind those that are there. It gets nothing before its size is known.
func (b *Budget) enter(engine string, manner manner, requests int) *claim {
	c := &claim{
		budget: b, engine: engine, manner: manner, requests: requests, used: time.Now(),
		granted: make(chan struct{}), told: make(chan struct{}, 1),
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claims = append(b.claims, c)
	return c
}

// size tells how much memory the claim is for.
func (c *claim) size(bytes uint64) {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	c.bytes, c.sized = bounded(bytes), true
	c.budget.schedule()
}

// need tells how many requests need the engine now.
func (c *claim) need(requests int) {
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

// serving tells that the engine takes requests, and that it shall be allowed to do so for some time.
func (c *claim) serving(service time.Duration) {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	c.ready, c.settled = true, time.Now().Add(service)
	c.budget.schedule()
}

// asked reports whether the engine is to go: at once, or when no generation runs any more. It may be taken back.
func (c *claim) asked() bool {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	return c.leaving
}

// going tells that the engine ends its process.
func (c *claim) going() {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	c.gone = true
	c.budget.schedule()
}

// release gives the memory back, or the wish for it up.
func (c *claim) release() {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claims = slices.DeleteFunc(b.claims, func(other *claim) bool { return other == c })
	b.schedule()
}

// decide ends the waiting of a claim. mu is held.
func (c *claim) decide(err error) {
	c.held, c.err = err == nil, err
	c.used = time.Now()
	close(c.granted)
}

// waits reports whether the claim can be granted. mu is held.
func (c *claim) waits() bool { return c.sized && !c.held && !c.gone && c.err == nil }

// BudgetReport says who has the memory, and who waits for some.
type BudgetReport struct {
	// MaxBytes is what engines may take together, UsedBytes what they are estimated to take.
	MaxBytes  uint64 `json:"max_bytes"`
	UsedBytes uint64 `json:"used_bytes"`
	// Claims are the engines that have memory or wait for it, in the order in which they asked.
	Claims []ClaimReport `json:"claims,omitempty"`
}

// ClaimReport is one engine's part of a [BudgetReport].
type ClaimReport struct {
	Engine string `json:"engine"`
	// Bytes is the estimate of what it takes, or 0 if it is not known yet.
	Bytes uint64 `json:"bytes"`
	// Held is true if it has the memory, false if it waits.
	Held bool `json:"held"`
	// Leaving is true if it is to go when no generation runs any more.
	Leaving bool `json:"leaving,omitempty"`
	// Requests is how many requests need it.
	Requests int `json:"requests"`
}

// Report returns what the budget is used for. It holds no paths.
func (b *Budget) Report() BudgetReport {
	b.mu.Lock()
	defer b.mu.Unlock()
	report := BudgetReport{MaxBytes: b.max(), UsedBytes: b.used()}
	for _, c := range b.claims {
		report.Claims = append(report.Claims, ClaimReport{
			Engine: c.engine, Bytes: c.bytes, Held: c.held, Leaving: c.leaving || c.gone, Requests: c.requests,
		})
	}
	return report
}
