package llmgateway

import (
	"context"
	"iter"
)

// Generate is what a [Provider] does, as a function.
type Generate func(ctx context.Context, req *Request) iter.Seq2[Event, error]

// An Adapter makes one kind of client work with any model: it changes what the client asks for, and what it gets. It may be
// used by many goroutines at once.
type Adapter interface {
	// Adapt takes in a request, before the cache and the routing see it. It returns the request to go on with: the client's
	// own if there is nothing to do, which then costs nothing further, or a copy with an [Exchange], and with a Body of its
	// own if the bytes had to change. The reference to that Body is the caller's, as the one to the client's is; nothing uses
	// the client's any more, so that it can be released at once. With an error no Body is made.
	Adapt(ctx context.Context, req *Request) (*Request, error)
}

// An Exchange is what an [Adapter] does for one request. It goes with the request, in [Request].Exchange, through every copy that is
// made of it.
//
// All its methods may be called from several goroutines: attempts may run at the same time, and a copy that is sent to a model
// under test may outlive the request.
type Exchange interface {
	// Answer answers the request. ask is the cache and the routing; it may be called again, with another request, if nothing
	// has been yielded. What is yielded goes to the client: its Data may say another usage than its Usage, which must be the
	// true one, as it is what is counted.
	Answer(ctx context.Context, req *Request, ask Generate) iter.Seq2[Event, error]

	// Attempt asks one target. ask sends a request to it, under the target's deadlines, and may be called again if nothing that
	// carries something has been yielded. req has the target's own name of the model.
	//
	// What is yielded takes the way of a provider's own answer: an error before anything that carries something makes the router
	// ask the next target, and of a whole answer the cache keeps what was yielded. Events that need no change are passed on as
	// they come, so that a target that hangs is seen as such.
	Attempt(ctx context.Context, to Destination, req *Request, ask Generate) iter.Seq2[Event, error]

	// Identity returns the same for exchanges that make the same answer of what a target says to a request. It keeps cached answers
	// apart that were adapted in other ways, and holds no secrets.
	Identity() string
}

// A Shortener is an [Exchange] that may make the request shorter for a target. One that is certainly too long for a target is handed to
// it all the same if Shortens reports true; then Attempt yields an error of the kind [ContextLength] if the rest is too long, too.
type Shortener interface {
	Shortens() bool
}

// Destination is a target that is about to be asked.
type Destination struct {
	// Provider and Model name it. Provider is the configured name, Model what the provider calls the model.
	Provider, Model string
	// Limits is what is known of it.
	Limits Limits
}
