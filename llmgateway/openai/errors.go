package openai

import (
	"encoding/json"
	"net/http"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// StatusClientClosedRequest is nginx's status for a client that left before the answer. It is only ever logged.
const StatusClientClosedRequest = 499

// kinds maps what went wrong to what a client is told, in OpenAI's terms
// (https://platform.openai.com/docs/guides/error-codes).
var kinds = map[llmgateway.Kind]struct {
	status          int
	errorType, code string
}{
	llmgateway.InvalidRequest: {http.StatusBadRequest, "invalid_request_error", ""},
	llmgateway.ContextLength:  {http.StatusBadRequest, "invalid_request_error", "context_length_exceeded"},
	llmgateway.Unsupported:    {http.StatusBadRequest, "invalid_request_error", "unsupported_content"},
	llmgateway.ContentFilter:  {http.StatusBadRequest, "invalid_request_error", "content_filter"},
	llmgateway.NoModel:        {http.StatusNotFound, "invalid_request_error", "model_not_found"},
	llmgateway.Denied:         {http.StatusBadGateway, "api_error", "provider_denied"},
	llmgateway.RateLimited:    {http.StatusTooManyRequests, "rate_limit_error", "rate_limit_exceeded"},
	llmgateway.Overloaded:     {http.StatusServiceUnavailable, "server_error", "overloaded"},
	llmgateway.Timeout:        {http.StatusGatewayTimeout, "server_error", "timeout"},
	llmgateway.Upstream:       {http.StatusBadGateway, "server_error", "provider_error"},
	llmgateway.Canceled:       {StatusClientClosedRequest, "server_error", "canceled"},
}

// Status returns the HTTP status for err.
func Status(err *llmgateway.Error) int {
	switch {
	case err.Kind == llmgateway.InvalidRequest && err.Status >= 400 && err.Status < 500,
		err.Kind == llmgateway.Unsupported && err.Status == http.StatusRequestEntityTooLarge:
		return err.Status
	}
	if k, ok := kinds[err.Kind]; ok {
		return k.status
	}
	return http.StatusBadGateway
}

// ErrorBody returns the error object for err.
func ErrorBody(err *llmgateway.Error) []byte {
	k := kinds[err.Kind]
	type object struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
	}
	o := object{Message: err.Message, Type: k.errorType}
	if err.Param != "" {
		o.Param = &err.Param
	}
	if code := err.Code; code != "" {
		o.Code = &code
	} else if k.code != "" {
		o.Code = &k.code
	}
	body, _ := json.Marshal(map[string]object{"error": o}) // strings always marshal
	return body
}

// nothingInIt is the error for an answer that is none.
func nothingInIt() error {
	return &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the provider sent an answer with nothing in it"}
}
