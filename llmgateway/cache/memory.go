package cache

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// Memory is a Store in this process. It forgets what is asked for least when it is full (W-TinyLFU). Whoever made it must
// close it.
type Memory struct {
	cache *otter.Cache[Key, kept]
	least atomic.Uint32 // what an answer counts at least, in bytes
}

type kept struct {
	answer []byte
	ttl    time.Duration
}

// overheadBytes is about what an answer takes beside its own bytes.
const overheadBytes = 200

// NewMemory returns a Store that holds at most so many bytes and, unless it is 0, so many answers.
func NewMemory(sizeBytes int64, maxAnswers int) (*Memory, error) {
	m := new(Memory)
	cache, err := otter.New(&otter.Options[Key, kept]{
		MaximumWeight:    uint64(max(sizeBytes, 0)),
		Weigher:          m.weigh,
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[Key, kept]) time.Duration { return e.Value.ttl }),
	})
	if err != nil {
		return nil, err
	}
	m.cache = cache
	m.Resize(sizeBytes, maxAnswers)
	return m, nil
}

// weigh counts an answer as at least its share of the room, so that there are not more than may be.
func (m *Memory) weigh(_ Key, k kept) uint32 {
	return max(uint32(min(cap(k.answer)+overheadBytes, math.MaxUint32)), m.least.Load())
}

// Resize changes how much the store may hold, as [NewMemory] takes it. What fits is kept.
func (m *Memory) Resize(sizeBytes int64, maxAnswers int) {
	size, least := uint64(max(sizeBytes, 0)), uint64(0)
	if maxAnswers > 0 {
		least = (size + uint64(maxAnswers) - 1) / uint64(maxAnswers)
	}
	m.least.Store(uint32(min(least, math.MaxUint32)))
	m.cache.SetMaximum(size)
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

// Use returns how many answers the store holds, and in how many bytes.
func (m *Memory) Use() (answers int, sizeBytes int64) {
	return m.cache.EstimatedSize(), int64(m.cache.WeightedSize())
}

// Purge implements Purger.
func (m *Memory) Purge(context.Context) (answers int, err error) {
	answers, _ = m.Use()
	m.cache.InvalidateAll()
	return answers, nil
}

// Close ends the goroutine that looks for answers that have expired.
func (m *Memory) Close() { m.cache.StopAllGoroutines() }

// Interface guards
var (
	_ Store  = (*Memory)(nil)
	_ Purger = (*Memory)(nil)
)
