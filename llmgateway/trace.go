package llmgateway

import (
	"context"
	"net/http"
	"time"
)

// Trace is a set of hooks that tell what happens to a request, like net/http/httptrace's ClientTrace. Any may be nil.
// They are called from the goroutine that ranges over the events, one at a time, but for Sending.
type Trace struct {
	// Attempting is called when an attempt begins, and returns the context that it is made with: the one that it is given, or
	// one derived from that.
	Attempting func(context.Context, Attempt) context.Context
	// Sending is called with an attempt's context before its request is sent to a provider over HTTP, and returns further
	// fields for the request's header, or nil. It is the one hook that may be called from any goroutine.
	Sending func(context.Context) http.Header
	// Tried is called when an attempt at a target has failed and nothing of it was passed on.
	Tried func(Attempt)
	// Answering is called right before the first event is passed on.
	Answering func(Attempt)
	// Broke is called when an answer that was passed on broke, and another target is asked to finish it.
	Broke func(Attempt)
	// Resumed is called right before the first event is passed on of a target that finishes what another began.
	Resumed func(Attempt)
	// Outrun is called when an attempt was given up because another, which ran at the same time, began to answer.
	Outrun func(Attempt)
	// Spent is called once for each attempt that a provider has worked for, when it has ended or right before its answer is passed
	// on in one piece. Answers that the cache had, or that are made for another request, are none.
	Spent func(Spending)
	// Cached is called when an attempt has asked the cache.
	Cached func(CacheUse)
	// Inherited is called when an answer that the request shares goes on only because of it and others: the request that it
	// was made for has left, and this one has taken its place.
	Inherited func()
	// Concealed is called when the request failed for good, and the client is told so by an answer instead of an error. The
	// answer follows.
	Concealed func(err error)
	// Late is asked when the request has failed for good. It reports whether the client has been told that an answer comes, so
	// that an error cannot be told any more; if not, it will not be told so from then on.
	Late func() bool
}

// CacheResult says where an attempt's answer comes from.
type CacheResult string

const (
	// CacheHit means that it was kept from an equal request.
	CacheHit CacheResult = "hit"
	// CacheShared means that it is being made for an equal request that came before.
	CacheShared CacheResult = "shared"
	// CacheMiss means that it is made for this request.
	CacheMiss CacheResult = "miss"
	// CacheBypass means that the cache was not asked.
	CacheBypass CacheResult = "bypass"
)

// CacheUse is what the cache did for an attempt.
type CacheUse struct {
	Result CacheResult
	// Age is how old the answer is.
	Age time.Duration
}

// Attempt is one try at one target.
type Attempt struct {
	// Provider and Model name the target.
	Provider, Model string
	// Price is what the target's tokens cost.
	Price Price
	// Context is the target's context in tokens, or 0 if unknown. It is found only for requests with an [Exchange].
	Context int
	// Number counts the attempts of a request from 1.
	Number int
	// Duration is the time since the attempt began.
	Duration time.Duration
	// Err is why it failed, or nil.
	Err error
}

type traceKey struct{}

// WithTrace returns a context whose requests report to t.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// ContextTrace returns the Trace of ctx. It is never nil.
func ContextTrace(ctx context.Context) *Trace {
	if t, ok := ctx.Value(traceKey{}).(*Trace); ok {
		return t
	}
	return &Trace{}
}
