package llmgateway

import (
	"context"
	"errors"
	"time"
)

// Kind classes an error by what can be done about it. Its values are few and fixed, so that it can be a metric's label.
type Kind string

const (
	// InvalidRequest means that the request itself is wrong; no other target would take it.
	InvalidRequest Kind = "invalid_request"
	// ContextLength means that the request does not fit into the model's context.
	ContextLength Kind = "context_length"
	// Unsupported means that the model or the provider cannot do what the request asks for, such as to see images. Another
	// may.
	Unsupported Kind = "unsupported"
	// ContentFilter means that a provider refuses the content. It is not routed around.
	ContentFilter Kind = "content_filter"
	// NoModel means that nobody here knows the model.
	NoModel Kind = "no_model"
	// Denied means that a provider refuses our credentials, or has no credit left.
	Denied Kind = "denied"
	// RateLimited means too many requests; RetryAfter may say how long.
	RateLimited Kind = "rate_limited"
	// Overloaded means that a target cannot take the request now: queue full, model not available.
	Overloaded Kind = "overloaded"
	// Timeout means that a deadline of ours passed.
	Timeout Kind = "timeout"
	// Upstream means that a target failed in any other way.
	Upstream Kind = "upstream"
	// Canceled means that the client left.
	Canceled Kind = "canceled"
)

// Error is a failed generation. Its cause is for logs only; the rest may be told to clients.
type Error struct {
	Kind Kind

	// Status is the HTTP status that a provider answered, or named in an error of its answer, or 0.
	Status int

	// RetryAfter is how long a provider asks to be left alone, or 0.
	RetryAfter time.Duration

	// Message tells the client what happened. It holds no keys and no internal addresses.
	Message string

	// Param names the member of the request that is wrong, if one is.
	Param string

	// Code is OpenAI's machine-readable code, if one fits better than the Kind's own.
	Code string

	// Used is what the provider had used until it failed, if it had begun to work: the tokens of its answer as far as it came.
	// Whoever has it does not change it.
	Used *Usage

	// Err is the cause.
	Err error
}

// Error returns the message and the cause.
func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Message
	case e.Message == "":
		return e.Err.Error()
	default:
		return e.Message + ": " + e.Err.Error()
	}
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// AsError returns err as an *Error. What is not one yet becomes Canceled, Timeout or Upstream.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, context.Canceled):
		return &Error{Kind: Canceled, Message: "the client closed the request", Err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Kind: Timeout, Message: "timed out", Err: err}
	default:
		return &Error{Kind: Upstream, Message: "the provider failed", Err: err}
	}
}
