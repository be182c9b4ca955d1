// Package memory shares a machine's memory among engines that each need much of it.
package memory

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Budget is the memory that all engines of a process share. An engine asks for room before it starts a server, and has it
// until the server's process has ended. When there is not enough, engines that nobody uses go first, the least recently
// used before the others; then busy ones finish what runs, and go. design.md tells the rules.
//
// All methods, its claims' too, may be called from many goroutines, and none of them waits.
type Budget struct {
	own uint64

	mu     sync.Mutex // guards what follows, and the claims
	limits []*uint64  // of Limit
	claims []*Claim   // in the order in which they came
	timer  *time.Timer
}

// NewBudget returns a budget of so many bytes.
func NewBudget(maxBytes uint64) *Budget { return &Budget{own: bounded(maxBytes)} }

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

// Refuse returns an error if a model is too large for the whole budget.
func (b *Budget) Refuse(bytes uint64) *TooLargeError {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tooLarge(bytes)
}

func (b *Budget) tooLarge(bytes uint64) *TooLargeError {
	if most := b.max(); bounded(bytes) > most {
		return &TooLargeError{Bytes: bytes, Max: most}
	}
	return nil
}

// TooLargeError is why a model is not loaded whatever else is unloaded.
type TooLargeError struct {
	// Bytes is what the model needs, Max what all may take together.
	Bytes, Max uint64
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the model needs about %s of memory, and max_memory is %s", formatBytes(e.Bytes), formatBytes(e.Max))
}

// formatBytes returns a size for people.
func formatBytes(bytes uint64) string {
	if bytes < 1<<30 {
		return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}

// Report says who has the memory, and who waits for some.
type Report struct {
	// MaxBytes is what engines may take together, UsedBytes what they are estimated to take.
	MaxBytes  uint64 `json:"max_bytes"`
	UsedBytes uint64 `json:"used_bytes"`
	// Claims are the engines that have memory or wait for it, in the order in which they asked.
	Claims []ClaimReport `json:"claims,omitempty"`
}

// ClaimReport is one engine's part of a [Report].
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
func (b *Budget) Report() Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	report := Report{MaxBytes: b.max(), UsedBytes: b.used()}
	for _, c := range b.claims {
		report.Claims = append(report.Claims, ClaimReport{
			Engine: c.engine, Bytes: c.bytes, Held: c.held, Leaving: c.leaving || c.gone, Requests: c.requests,
		})
	}
	return report
}
