// Package cache answers a request with what was answered to an equal one before, and lets equal requests that are under
// way share one generation.
//
// Only whole answers are kept, under the model that gave them. An answer that came as a stream serves those who want none,
// and the other way round.
package cache

import (
	"context"
	"iter"
	"sync/atomic"
	"time"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// Store keeps answers. Its methods may be called from many goroutines at once, and return soon: a store that is slow or
// down loses answers rather than time.
type Store interface {
	// Get returns what was put under key, or false if it is not there any more, or cannot be had.
	Get(ctx context.Context, key Key) (answer []byte, ok bool)
	// Put keeps an answer for at most ttl. The bytes are not changed afterwards.
	Put(ctx context.Context, key Key, answer []byte, ttl time.Duration)
}

// A Keyer is a Store that says how the keys of its answers are made, so that others who use it make the same.
type Keyer interface {
	// Keys returns what makes the keys. It returns soon.
	Keys(ctx context.Context) *Keys
}

// A Purger is a Store that can forget all it holds.
type Purger interface {
	// Purge forgets all answers and returns about how many there were. Answers that are under way may be put afterwards.
	Purge(ctx context.Context) (answers int, err error)
}

// Policy says what a cache is used for.
type Policy struct {
	// TTL is how long an answer may be used.
	TTL time.Duration
	// MaxAnswerBytes is the largest answer that is kept or shared.
	MaxAnswerBytes int
	// OnlyDeterministic keeps the cache to requests that ask for the same answer each time: with temperature 0 or a seed.
	OnlyDeterministic bool
}

// Cache answers requests from a store. Its fields are not changed after first use.
type Cache struct {
	Store  Store
	Policy Policy

	flights flights
	usual   atomic.Int64 // bytes of an answer
}

// A Generator answers a request, as [llmgateway.Provider.Generate] does.
type Generator func(context.Context, *llmgateway.Request) iter.Seq2[llmgateway.Event, error]

// Generate answers from the store or from an equal request that is under way, or else by next, whose answer is kept if it
// is whole. The generation goes on as long as anybody waits for it.
//
// What the cache did is told through [llmgateway.Trace], before the first event.
func (c *Cache) Generate(ctx context.Context, s Scope, req *llmgateway.Request, next Generator) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		tell := func(use llmgateway.CacheUse) {
			if trace := llmgateway.ContextTrace(ctx); trace.Cached != nil {
				trace.Cached(use)
			}
		}
		if req.Cache.NoStore && req.Cache.NoCache || c.Policy.OnlyDeterministic && !deterministic(req) {
			tell(llmgateway.CacheUse{Result: llmgateway.CacheBypass})
			next(ctx, req)(yield)
			return
		}
		key := c.keys(ctx).Of(s, req)
		if !req.Cache.NoCache {
			if answer, age := c.find(ctx, key, req); answer != nil {
				tell(llmgateway.CacheUse{Result: llmgateway.CacheHit, Age: age})
				replay(answer.all(), answer.streamed(), req)(yield)
				return
			}
		}
		if req.Cache.NoStore {
			tell(llmgateway.CacheUse{Result: llmgateway.CacheMiss})
			next(ctx, req)(yield)
			return
		}
		var flying context.Context
		f, p, shared := c.flights.join(key, !req.Cache.NoCache, func() (*flight, *passenger) {
			var cancel context.CancelCauseFunc
			flying, cancel = context.WithCancelCause(context.WithoutCancel(ctx))
			return newFlight(req.Stream, c.Policy.MaxAnswerBytes, cancel)
		})
		if shared {
			tell(llmgateway.CacheUse{Result: llmgateway.CacheShared})
		} else {
			tell(llmgateway.CacheUse{Result: llmgateway.CacheMiss})
			c.takeOff(ctx, flying, f, p, key, req, next)
		}
		replay(f.events(ctx, p), f.streamed, req)(yield)
	}
}

func (c *Cache) keys(ctx context.Context) *Keys {
	if k, ok := c.Store.(Keyer); ok {
		return k.Keys(ctx)
	}
	return ownKeys()
}

// find returns a kept answer that the request may have.
func (c *Cache) find(ctx context.Context, key Key, req *llmgateway.Request) (answer *Answer, age time.Duration) {
	kept, ok := c.Store.Get(ctx, key)
	if !ok {
		return nil, 0
	}
	answer = new(Answer)
	if err := answer.UnmarshalBinary(kept); err != nil {
		return nil, 0 // somebody else's, or an earlier version's
	}
	age = max(time.Since(answer.Created), 0)
	if age >= c.Policy.TTL || req.Cache.MaxAge > 0 && age > req.Cache.MaxAge {
		return nil, 0
	}
	return answer, age
}

// keep puts a whole answer into the store. A stream that ended without a finish reason may lack its end, and is not kept.
func (c *Cache) keep(ctx context.Context, key Key, answer *recording) {
	if !answer.end {
		return
	}
	if kept := answer.stored(time.Now()); len(kept) <= c.Policy.MaxAnswerBytes {
		c.Store.Put(ctx, key, kept, c.Policy.TTL)
		c.usual.Store(c.usual.Load() + (int64(len(kept))-c.usual.Load())/8) // roughly is enough
	}
}

// expected returns how many bytes an answer will take, as a guess. One that is not streamed comes with its length.
func (c *Cache) expected(streamed bool) int {
	if !streamed {
		return 0
	}
	return int(min(max(c.usual.Load()*5/4, 1<<10), 64<<10))
}

// replay brings an answer into the mode that a request wants.
func replay(events iter.Seq2[llmgateway.Event, error], streamed bool, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	switch {
	case streamed && !req.Stream:
		return openai.Merge(events)
	case !streamed && req.Stream:
		return openai.Split(events)
	default:
		return events
	}
}

// deterministic reports whether a request asks for the same answer each time.
func deterministic(req *llmgateway.Request) bool {
	if req.Operation == llmgateway.Embeddings {
		return true
	}
	if m, ok := req.Lookup("seed"); ok && gjson.ParseBytes(req.Raw(m)).Type == gjson.Number {
		return true
	}
	m, ok := req.Lookup("temperature")
	temperature := gjson.Result{}
	if ok {
		temperature = gjson.ParseBytes(req.Raw(m))
	}
	return temperature.Type == gjson.Number && temperature.Num == 0
}
