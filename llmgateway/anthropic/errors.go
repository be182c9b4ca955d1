package anthropic

import (
	"net/http"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/dialect"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// errorType returns what Anthropic calls the error (https://docs.anthropic.com/en/api/errors).
func errorType(e *llmgateway.Error) string {
	if openai.Status(e) == http.StatusRequestEntityTooLarge {
		return "request_too_large"
	}
	switch e.Kind {
	case llmgateway.NoModel:
		return "not_found_error"
	case llmgateway.RateLimited:
		return "rate_limit_error"
	case llmgateway.Overloaded:
		return "overloaded_error"
	case llmgateway.Timeout:
		return "timeout_error"
	case llmgateway.ContextLength, llmgateway.Unsupported, llmgateway.ContentFilter:
		return "invalid_request_error"
	case llmgateway.Denied, llmgateway.Upstream, llmgateway.Canceled:
		return "api_error"
	case llmgateway.InvalidRequest:
	}
	switch openai.Status(e) {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	default:
		return "invalid_request_error"
	}
}

// ErrorBody returns the error object for err.
func ErrorBody(err *llmgateway.Error) []byte {
	message := err.Message
	if err.Kind == llmgateway.ContextLength {
		message = "prompt is too long: " + message // the words by which clients know that they should compact it
	}
	b := append([]byte(`{"type":"error","error":{"type":"`), errorType(err)...)
	b = dialect.AppendQuoted(append(b, `","message":`...), message)
	return append(b, `}}`...)
}

// WriteError answers a request that failed.
func WriteError(w http.ResponseWriter, err error) {
	e := llmgateway.AsError(err)
	openai.WriteErrorBody(w, e, ErrorBody(e))
}
