package local

import (
	"container/list"
	"context"
	"sync"
)

// queue lets a fixed number of requests in at once; the others wait, and the first to come is the next to go in.
// llama-server has a queue too, but ours is bounded, ordered and visible.
type queue struct {
	mu      sync.Mutex // guards what follows
	free    int
	waiting list.List // of chan struct{}, closed when it is that request's turn
}

func newQueue(slots int) *queue { return &queue{free: slots} }

// enter waits for a slot, unless maxQueue requests are waiting already: then full is true. Whoever got in leaves by
// calling leave.
func (q *queue) enter(ctx context.Context, maxQueue int) (full bool, err error) {
	q.mu.Lock()
	if q.free > 0 {
		q.free--
		q.mu.Unlock()
		return false, nil
	}
	if q.waiting.Len() >= maxQueue {
		q.mu.Unlock()
		return true, nil
	}
	turn := make(chan struct{})
	place := q.waiting.PushBack(turn)
	q.mu.Unlock()

	select {
	case <-turn:
		return false, nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-turn: // our turn came just now: hand it on
		q.next()
	default:
		q.waiting.Remove(place)
	}
	return false, context.Cause(ctx)
}

func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.next()
}

// next gives a slot to the first who waits.
func (q *queue) next() {
	if first := q.waiting.Front(); first != nil {
		close(q.waiting.Remove(first).(chan struct{}))
		return
	}
	q.free++
}

// length returns how many wait.
func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting.Len()
}
