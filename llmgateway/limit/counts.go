package limit

import (
	"container/list"
	"sync"
	"time"
)

// maxKeys bounds how many keys are counted at once. Of more, the one that was not used for longest is forgotten.
const maxKeys = 1 << 16

// Counts is what keys have used, in memory. The zero value has counted nothing. Its methods may be called from many
// goroutines at once; they take the same time however many keys there are.
//
// A key takes about 300 bytes. It is forgotten once nothing of what it used counts any more.
type Counts struct {
	mu    sync.Mutex // guards what follows, and all entries
	byKey map[keySum]*list.Element
	used  list.List // of *entry, the last used in front
}

// entry is what is known of one key.
type entry struct {
	key     keySum
	open    int       // reservations that are not settled
	until   time.Time // from when on nothing counts
	windows []counted
}

// counted is a count and what it counts. Limits may change; the counts of equal periods stay.
type counted struct {
	kind Kind
	per  time.Duration
	count
}

// count is what was used in a period and in the one before. Periods are numbered from the Unix epoch.
type count struct {
	period    int64
	cur, prev int64
}

// reserve takes what r wants of its limiter's limits. It returns the counts after that or, if they have no room, as they are.
// busy means that too many requests of the key run already.
func (c *Counts) reserve(r *Reservation) (counts []count, busy, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entry(r.key)
	defer c.drop(r.now) // once it is known how long this entry counts
	limits := r.limiter.Limits
	ok = true
	for i, w := range limits.Windows {
		at := e.window(w)
		at.roll(w.periodAt(r.now))
		ok = ok && at.used(w, r.now)+r.taken[i] <= w.Max
		counts = append(counts, at.count)
		if end := r.now.Add(2 * w.Per); end.After(e.until) {
			e.until = end
		}
	}
	if busy = limits.Parallel > 0 && e.open >= limits.Parallel; busy || !ok {
		return counts, busy, false
	}
	for i, w := range limits.Windows {
		at := e.window(w)
		at.add(w.periodAt(r.now), r.taken[i])
		counts[i] = at.count
	}
	e.open++
	r.entry = e
	return counts, false, true
}

// settle puts what was used in place of what r has taken.
func (c *Counts) settle(r *Reservation, used Use) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.entry.open--
	for i, w := range r.limiter.Limits.Windows {
		r.entry.window(w).add(w.periodAt(r.now), max(0, used.of(w.Kind))-r.taken[i])
	}
}

// entry returns the entry of a key, and puts it in front.
func (c *Counts) entry(key keySum) *entry {
	if at, ok := c.byKey[key]; ok {
		c.used.MoveToFront(at)
		return at.Value.(*entry)
	}
	if c.byKey == nil {
		c.byKey = make(map[keySum]*list.Element)
	}
	e := &entry{key: key}
	c.byKey[key] = c.used.PushFront(e)
	return e
}

// drop forgets keys that were not used for long. Two for each that may come: so they do not pile up, and nobody waits.
func (c *Counts) drop(now time.Time) {
	for range 2 {
		last := c.used.Back()
		if last == nil {
			return
		}
		e := last.Value.(*entry)
		switch {
		case e.open > 0:
			c.used.MoveToFront(last) // its reservation comes back to it
		case e.until.Before(now) || c.used.Len() > maxKeys:
			c.used.Remove(last)
			delete(c.byKey, e.key)
		default:
			return
		}
	}
}

// window returns the count for a window, which may be new.
func (e *entry) window(w Window) *counted {
	for i := range e.windows {
		if at := &e.windows[i]; at.kind == w.Kind && at.per == w.Per {
			return at
		}
	}
	e.windows = append(e.windows, counted{kind: w.Kind, per: w.Per})
	return &e.windows[len(e.windows)-1]
}
