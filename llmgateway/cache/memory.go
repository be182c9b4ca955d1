package cache

import (
	"context"
	"time"

	"github.com/maypok86/otter/v2"
)

// Memory is a Store in this process. It forgets what is asked for least when it is full (W-TinyLFU). Whoever made it must
// close it.
type Memory struct {
	cache *otter.Cache[Key, kept]
}

type kept struct {
	answer []byte
	ttl    time.Duration
}

// overheadBytes is about what an answer takes beside its own bytes.
const overheadBytes = 200

// NewMemory returns a Store that holds at most so many bytes.
func NewMemory(sizeBytes int64) (*Memory, error) {
	cache, err := otter.New(&otter.Options[Key, kept]{
		MaximumWeight:    uint64(max(sizeBytes, 0)),
		Weigher:          func(_ Key, k kept) uint32 { return uint32(len(k.answer) + overheadBytes) },
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[Key, kept]) time.Duration { return e.Value.ttl }),
	})
	if err != nil {
		return nil, err
	}
	return &Memory{cache}, nil
}

// Get implements Store.
func (m *Memory) Get(_ context.Context, key Key) ([]byte, bool) {
	k, ok := m.cache.GetIfPresent(key)
	return k.answer, ok
}

// Put implements Store.
func (m *Memory) Put(_ context.Context, key Key, answer []byte, ttl time.Duration) {
	m.cache.Set(key, kept{answer, ttl})
}

// Resize changes how many bytes the store may hold. What fits is kept.
func (m *Memory) Resize(sizeBytes int64) { m.cache.SetMaximum(uint64(max(sizeBytes, 0))) }

// Use returns how many answers the store holds, and in how many bytes.
func (m *Memory) Use() (answers int, sizeBytes int64) {
	return m.cache.EstimatedSize(), int64(m.cache.WeightedSize())
}

// Close ends the goroutine that looks for answers that have expired.
func (m *Memory) Close() { m.cache.StopAllGoroutines() }

// Interface guards
var _ Store = (*Memory)(nil)
