package cache

import (
	"context"
	"iter"
	"slices"
	"sync"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// flights are the generations that may be shared.
type flights struct {
	mu    sync.Mutex // guards byKey
	byKey map[Key]*flight
}

// join returns the flight for a key, if there is one that still takes passengers and may is true, or else a new one, with its
// first passenger, that has not begun. The caller is the passenger, and must range over its events.
func (fs *flights) join(key Key, may bool, newFlight func() (*flight, *passenger)) (f *flight, p *passenger, shared bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f, ok := fs.byKey[key]; ok && may {
		if p, ok := f.board(); ok {
			return f, p, true
		}
	}
	if fs.byKey == nil {
		fs.byKey = make(map[Key]*flight)
	}
	f, p = newFlight()
	fs.byKey[key] = f
	return f, p, false
}

// remove makes sure that nobody joins f any more.
func (fs *flights) remove(key Key, f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.byKey[key] == f {
		delete(fs.byKey, key)
	}
}

// flight is one generation for any number of requests, its passengers. It belongs to none of them, and ends when the
// generation does, or when the last passenger has left.
//
// One that is streamed has a goroutine of its own, so that no passenger keeps the others waiting. One that is not comes all at
// once: its first passenger's goroutine makes it, which is much cheaper, and stays for the others if that one leaves.
type flight struct {
	streamed bool
	limit    int // bytes that are held for all; more is dropped once everybody has it
	cancel   context.CancelCauseFunc
	read     chan struct{} // holds a wake-up for the goroutine: somebody has read, or left

	mu         sync.Mutex // guards what follows
	log        []llmgateway.Event
	dropped    int // events before log
	size       int // bytes of log
	full       bool
	ended      bool
	err        error
	passengers []*passenger

	// The one that it was made for, who in most cases stays alone.
	first passenger
	alone [1]*passenger
}

// passenger is a request that gets a flight's events.
type passenger struct {
	wake chan struct{} // holds a wake-up
	at   int           // events that it has got
	own  bool          // the generation is on its account: it was made for it, or for one that left
	told bool          // it knows
	gone bool          // it has left
}

// newFlight returns a generation on behalf of a first passenger and of all who will join. It ends with cancel, and takes off with
// fly.
func newFlight(streamed bool, limit int, cancel context.CancelCauseFunc) (*flight, *passenger) {
	f := &flight{streamed: streamed, limit: limit, cancel: cancel}
	f.first.own, f.first.told = true, true
	if streamed { // otherwise the first passenger makes it, and nobody waits for the other
		f.read, f.first.wake = make(chan struct{}, 1), make(chan struct{}, 1)
	}
	f.alone[0] = &f.first
	f.passengers = f.alone[:]
	return f, &f.first
}

// takeOff makes the generation in the context flying, for a first passenger whose context ctx is.
func (c *Cache) takeOff(ctx, flying context.Context, f *flight, first *passenger, key Key, req *llmgateway.Request, next Generator) {
	req.Body.Retain()
	// The client is anybody: some want the usage at the end of their stream, and it must be there for them.
	shared := *req
	shared.ClientStream = false
	fly := func() {
		defer req.Body.Release()
		defer f.cancel(nil)
		defer c.flights.remove(key, f)
		answer := recording{expect: c.expected(f.streamed)}
		failure := f.fly(flying, next(flying, &shared), &answer, func() { c.flights.remove(key, f) })
		if failure == nil && flying.Err() == nil && !f.full {
			c.keep(flying, key, &answer)
		}
	}
	if f.streamed {
		go fly()
		return
	}
	defer context.AfterFunc(ctx, func() { f.leave(ctx, first) })()
	fly()
}

// errBroken is what the others are told if the generation does not end but panics.
var errBroken = &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the generation that was shared broke off"}

// fly takes in the events until they end. full is called when they are too many to be shared and recorded.
func (f *flight) fly(ctx context.Context, events iter.Seq2[llmgateway.Event, error], answer *recording, full func()) (failure error) {
	failure = errBroken
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.ended, f.err = true, failure
		f.wake()
	}()
	for event, err := range events {
		if err != nil {
			return err
		}
		if f.full {
			event.Data = slices.Clone(event.Data)
		} else {
			event = answer.add(event)
		}
		if f.add(event) {
			continue
		}
		*answer = recording{}
		if !f.streamed { // it is one event, for this goroutine to read
			continue
		}
		full()
		for !f.trim() {
			select {
			case <-f.read:
			case <-ctx.Done():
			}
			if ctx.Err() != nil {
				break
			}
		}
	}
	return nil
}

// board adds a passenger, unless the flight has failed, everybody has left, or its beginning may be gone.
func (f *flight) board() (p *passenger, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil || f.full {
		return nil, false
	}
	p = &passenger{wake: make(chan struct{}, 1)}
	f.passengers = append(f.passengers, p)
	return p, true
}

// add takes in the next event. It returns false when there are more than can be held. Nobody is woken while the next event
// is at hand.
func (f *flight) add(event llmgateway.Event) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, event)
	f.size += len(event.Data)
	f.full = f.full || f.size > f.limit
	if !event.More || f.full {
		f.wake()
	}
	return !f.full
}

// trim drops what everybody has got, and reports whether there is room for more.
func (f *flight) trim() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	least := f.dropped + len(f.log)
	for _, p := range f.passengers {
		least = min(least, p.at)
	}
	for ; f.dropped < least; f.dropped++ {
		f.size -= len(f.log[0].Data)
		f.log = f.log[1:]
	}
	return f.size <= f.limit
}

// wake lets all passengers look again. mu is held.
func (f *flight) wake() {
	for _, p := range f.passengers {
		signal(p.wake)
	}
}

// signal leaves a wake-up, unless there is one already or nobody waits for any.
func signal(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

// events yields the generation's events from its beginning, as they come. The passenger leaves when the loop ends or ctx
// does; the last one to leave ends the generation.
func (f *flight) events(ctx context.Context, p *passenger) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		defer f.leave(ctx, p)
		for {
			ready, ended, inherited, err := f.ready(p)
			if !f.streamed && ctx.Err() != nil {
				ready, err = nil, context.Cause(ctx) // it has left, and the answer was made for the others
			}
			if inherited {
				if trace := llmgateway.ContextTrace(ctx); trace.Inherited != nil {
					trace.Inherited()
				}
			}
			for i, event := range ready {
				event.More = event.More || i+1 < len(ready)
				if !yield(event, nil) {
					return
				}
			}
			switch {
			case len(ready) > 0:
				f.got(p, len(ready))
			case err != nil:
				yield(llmgateway.Event{}, err)
				return
			case ended:
				return
			default:
				select {
				case <-p.wake:
				case <-ctx.Done():
					yield(llmgateway.Event{}, context.Cause(ctx))
					return
				}
			}
		}
	}
}

// ready returns the events that p has not got yet, and whether the generation has come on its account since it last asked.
func (f *flight) ready(p *passenger) (events []llmgateway.Event, ended, inherited bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	inherited = p.own && !p.told
	p.told = p.own
	return f.log[p.at-f.dropped:], f.ended, inherited, f.err
}

func (f *flight) got(p *passenger, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.at += n
	signal(f.read)
}

func (f *flight) leave(ctx context.Context, p *passenger) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.gone {
		return
	}
	p.gone = true
	f.passengers = slices.DeleteFunc(f.passengers, func(other *passenger) bool { return other == p })
	signal(f.read)
	if f.ended {
		return
	}
	if len(f.passengers) > 0 {
		if p.own { // until the end everybody asks for more, and so the heir is told
			f.passengers[0].own = true
			signal(f.passengers[0].wake)
		}
		return
	}
	cause := context.Cause(ctx)
	if cause == nil {
		cause = context.Canceled // the passenger broke its loop
	}
	f.cancel(cause)
	f.err = cause // nobody may join any more
}
