package local

import (
	"container/list"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// queue lets requests in as slots become free; the others wait, and the first to come is the next to go in, also if it
// needs several slots and somebody behind it needs fewer. llama-server has a queue too, but ours is bounded, ordered and
// visible, and knows who continues which conversation.
type queue struct {
	timed atomic.Bool // somebody wants to know how long requests take

	mu      sync.Mutex // guards what follows
	table   table
	waiting list.List // of *job
	running []*job    // let in and not gone
	meter   meter
	server  *server // whose slots the table describes
}

// newQueue returns a queue for a server of so many slots that processes up to batch tokens of prompts at once.
func newQueue(slots, batch int) *queue {
	return &queue{table: make(table, slots), meter: meter{batch: float64(batch)}}
}

// isTimed reports whether it matters how long a request takes: for itself, or for others since some came for which it did.
func (q *queue) isTimed(itself bool) bool {
	if itself && !q.timed.Load() {
		q.timed.Store(true)
	}
	return q.timed.Load()
}

// limits are how long a request may have to wait. 0 is no bound for maxWait, and no place to wait for maxQueue.
type limits struct {
	maxQueue int
	maxWait  time.Duration // until its first token
	loading  time.Duration // how much of that is needed before anything can be sent
}

// enter waits for the slots of j. It fails at once, with Overloaded, if too many wait already or if the first token is
// expected too late. Whoever got in leaves by calling leave.
func (q *queue) enter(ctx context.Context, j *job, l limits) error {
	place, err := q.line(j, l)
	if place == nil || err != nil {
		return err
	}
	select {
	case <-j.turn:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-j.turn: // our turn came just now: hand it on
		q.part(j, time.Now())
	default:
		q.waiting.Remove(place)
	}
	// Those behind may need less.
	q.admit(time.Now())
	return fmt.Errorf("waiting for a slot of the local model: %w", context.Cause(ctx))
}

// line lets j in or gives it a place to wait at.
func (q *queue) line(j *job, l limits) (*list.Element, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	j.came = now
	atOnce := q.waiting.Len() == 0 && q.table.free() >= j.width
	if !atOnce && q.waiting.Len() >= l.maxQueue {
		return nil, &llmgateway.Error{Kind: llmgateway.Overloaded, Message: "the local model's queue is full"}
	}
	if l.maxWait > 0 {
		if wait, known := q.expect(j, now, l.loading); known && wait > l.maxWait {
			return nil, tooLate(wait, l.maxWait)
		}
	}
	place := q.waiting.PushBack(j)
	q.admit(now)
	if j.slots != nil {
		return nil, nil
	}
	return place, nil
}

// tooLate tells a client that the first token would come after wait, which is longer than maxWait.
func tooLate(wait, maxWait time.Duration) error {
	return &llmgateway.Error{
		Kind:       llmgateway.Overloaded,
		Message:    fmt.Sprintf("the local model would need about %v to its first token", rough(wait)),
		RetryAfter: max(wait-maxWait, time.Second),
	}
}

// rough rounds a guess to what it is worth.
func rough(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}

// admit lets in who is first, and who is next, as long as there are slots for them. mu is held.
func (q *queue) admit(now time.Time) {
	for {
		front := q.waiting.Front()
		if front == nil {
			return
		}
		j := front.Value.(*job)
		if q.table.free() < j.width {
			return
		}
		q.waiting.Remove(front)
		j.slots = q.table.take(j)
		q.meter.advance(q.running, now)
		q.running = append(q.running, j)
		close(j.turn)
	}
}

// send notes that j goes to s now. After that j knows its slots.
func (q *queue) send(j *job, s *server) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	q.meter.advance(q.running, now)
	if !j.sent.IsZero() { // to another server, which died
		q.meter.end(j, false, now)
	}
	if q.server != s {
		q.meet(s, j)
	}
	held := &q.table[j.slots[0]].prompt
	j.shared = j.prompt.shared(held)
	j.fresh = j.prompt.beyond(held, j.shared)
	q.meter.begin(j, q.running, now)
}

// meet takes in that s serves from now on, with j as its first request. What its slots hold was not known when those who
// are in were given theirs. mu is held.
func (q *queue) meet(s *server, j *job) {
	q.server = s
	var unsent []*job
	for _, other := range q.running {
		if other == j || other.sent.IsZero() {
			q.table.giveBack(other, false, false, time.Time{})
			unsent = append(unsent, other)
		}
	}
	q.table.forget() // a new process has what it was given, and no more
	for _, slot := range s.restored() {
		if slot.ID >= 0 && slot.ID < len(q.table) {
			q.table[slot.ID].prompt = slot.Prompt
		}
	}
	for _, other := range unsent {
		other.slots = q.table.take(other)
	}
}

// held returns the prompt that a slot of s holds.
func (q *queue) held(s *server, slot int) chain {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.server != s || slot < 0 || slot >= len(q.table) {
		return chain{}
	}
	return q.table[slot].prompt
}

// event takes in an event of j's answer. It is called by whoever has j.
func (q *queue) event(j *job, event llmgateway.Event) {
	j.timing.read(event)
	if !event.Carries || j.tokens.Add(1) > 1 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	q.meter.advance(q.running, now)
	q.meter.firstToken(j, now)
}

// leave gives the slots of j back. whole is true if its answer came to its end.
func (q *queue) leave(j *job, whole bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	q.meter.advance(q.running, now)
	if !j.sent.IsZero() {
		q.meter.end(j, whole, now)
	}
	q.part(j, now)
	q.admit(now)
}

// part takes j out of its slots. mu is held.
func (q *queue) part(j *job, now time.Time) {
	q.running = slices.DeleteFunc(q.running, func(other *job) bool { return other == j })
	q.table.giveBack(j, !j.sent.IsZero(), !j.first.IsZero(), now)
}

// expect returns how long j would have to wait for its first token if it came now. It is not known before something was
// measured. mu is held.
func (q *queue) expect(j *job, now time.Time, loading time.Duration) (wait time.Duration, known bool) {
	f, known := q.forecast(j, now, loading)
	if !known {
		return 0, false
	}
	return seconds(f.first[j]), true
}

func seconds(s float64) time.Duration {
	return time.Duration(min(s*float64(time.Second), math.MaxInt64/2))
}

// length returns how many wait.
func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting.Len()
}
