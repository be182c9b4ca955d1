package llmgateway

import (
	"context"
	"iter"
)

// A Provider answers one request as a stream of events.
//
// Routers and every backend are Providers, so they stack like http.Handlers.
//
// An error ends the stream. An error before the first event means that nothing was produced and the caller may try
// elsewhere; after it, the answer is broken and must be reported as such. A stream that ends without an error is whole.
// Breaking out of the loop, or canceling ctx, stops the generation.
//
// Generate may be called from many goroutines at once. The request is not changed, and nothing of it is kept once the
// loop has ended, but for what [Body.Retain] covers.
type Provider interface {
	Generate(ctx context.Context, req *Request) iter.Seq2[Event, error]
}

// State says whether a provider can take requests.
type State string

const (
	// StateReady means that a request would be served at once.
	StateReady State = "ready"
	// StateIdle means that a local model is not loaded; the first request loads it.
	StateIdle State = "idle"
	// StateLoading means that a local model is being loaded; requests wait for it.
	StateLoading State = "loading"
	// StateFailed means that requests fail, and why is in [Status].Detail.
	StateFailed State = "failed"
	// StateDown means that a provider has failed for a model lately and rests, so that others are asked first.
	StateDown State = "down"
	// StateDrained means that an operator has taken a provider out of service for a model.
	StateDrained State = "drained"
	// StateDisabled means that the provider is switched off by its configuration, such as an unset API key.
	StateDisabled State = "disabled"
)

// Live reports whether a request sent now has a chance. A model that is not loaded yet, or is loading, is live.
func (s State) Live() bool {
	return s == StateReady || s == StateIdle || s == StateLoading
}

// Status describes a provider to operators. It holds no secrets and no addresses.
type Status struct {
	State  State  `json:"state"`
	Detail string `json:"detail,omitempty"`
}

// A Reporter is a Provider that knows its own state. A Provider that is not a Reporter counts as ready.
type Reporter interface {
	Status() Status
}

// StatusOf returns what p reports of itself, or [StateReady] if it reports nothing.
func StatusOf(p Provider) Status {
	if r, ok := p.(Reporter); ok {
		return r.Status()
	}
	return Status{State: StateReady}
}

// A Modeler is a Provider that serves one model whose properties it knows, such as a local GGUF file.
type Modeler interface {
	ModelInfo() ModelInfo
}

// A Catalog is a Provider of several models that may come and go, such as a folder of GGUF files.
type Catalog interface {
	Provider
	// Models returns the names of the models there are now, sorted.
	Models() []string
	// Lookup returns the Provider of one model, or nil if there is none of that name now.
	Lookup(model string) Provider
}

// ProviderOf returns who answers for a model at p: p itself or, if p is a [Catalog], its Provider of that model. It is nil
// if p has no such model.
func ProviderOf(p Provider, model string) Provider {
	if c, ok := p.(Catalog); ok {
		return c.Lookup(model)
	}
	return p
}

// A Speaker is a Provider that also speaks other APIs than chat's.
type Speaker interface {
	// Speaks reports whether a request for the operation can be sent as it is.
	Speaks(op Operation) bool
}

// An Identifier is a Provider that knows what its answers depend on. Without it, a provider is known by its configured name.
type Identifier interface {
	// Identity returns the same for providers that give the same answers, in this process and in others, and something
	// else for all others. It holds no secrets.
	Identity() string
}

// ModelInfo is what is known of a model without asking it. A request that needs what is false is not sent to the model;
// what cannot be known is true.
type ModelInfo struct {
	// Name is what the provider calls the model.
	Name string
	// Context is the most tokens that one request may hold, prompt and answer together, or 0 if unknown.
	Context int
	// Vision is true if images may be sent.
	Vision bool
	// Audio is true if sound may be sent.
	Audio bool
	// Tools is true if tools may be offered.
	Tools bool
	// Embeddings is true if embeddings may be asked for.
	Embeddings bool
	// Prefill is true if the model is known to go on with an assistant's message at the end of a conversation.
	Prefill bool
}
