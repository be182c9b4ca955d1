package openai

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidwall/gjson"

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
	if err.Kind == llmgateway.InvalidRequest && err.Status >= 400 && err.Status < 500 {
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

// maxErrorBody is how much of a failed answer is read.
const maxErrorBody = 64 << 10

// statusError classes an answer whose status is not 200. text is its body.
func (c *Client) statusError(resp *http.Response, text []byte) *llmgateway.Error {
	e := &llmgateway.Error{
		Status:     resp.StatusCode,
		RetryAfter: retryAfter(resp.Header, time.Now()),
		Message:    "HTTP " + strconv.Itoa(resp.StatusCode),
	}
	object := gjson.GetBytes(text, "error")
	message := object.Get("message").String()
	if object.Type == gjson.String {
		message = object.Str
	}
	e.Kind = kindOfStatus(resp.StatusCode)
	if kind := kindOfObject(object, message); kind != "" && (e.Kind == llmgateway.InvalidRequest || e.Kind == llmgateway.Upstream) {
		e.Kind = kind
	}
	switch e.Kind {
	case llmgateway.Denied:
		e.Message = "the provider refused the gateway's credentials (" + e.Message + ")"
		return e // its text may quote the key
	case llmgateway.RateLimited:
		e.Message = "the provider's rate limit is reached (" + e.Message + ")"
	case llmgateway.InvalidRequest, llmgateway.ContextLength, llmgateway.ContentFilter:
		if message != "" {
			e.Message = c.redact(message)
		}
		if param := object.Get("param"); param.Type == gjson.String {
			e.Param = c.redact(param.Str)
		}
		// llama-server's code is the status.
		if code := object.Get("code"); code.Type == gjson.String && e.Kind == llmgateway.InvalidRequest {
			e.Code = c.redact(code.Str)
		}
	}
	if message == "" {
		message = string(text)
	}
	e.Err = errors.New(shorten(c.redact(message)))
	return e
}

func kindOfStatus(status int) llmgateway.Kind {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusUnsupportedMediaType:
		return llmgateway.InvalidRequest
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusPaymentRequired:
		return llmgateway.Denied
	case http.StatusTooManyRequests:
		return llmgateway.RateLimited
	case http.StatusServiceUnavailable, 529: // 529 is Anthropic's overloaded_error
		return llmgateway.Overloaded
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return llmgateway.Timeout
	default:
		return llmgateway.Upstream
	}
}

// kindOfObject recognises the errors that need another treatment than their status says, by code, type or words.
func kindOfObject(object gjson.Result, message string) llmgateway.Kind {
	code, errorType := object.Get("code").String(), object.Get("type").String()
	lower := strings.ToLower(message)
	switch {
	case code == "context_length_exceeded", errorType == "exceed_context_size_error",
		strings.Contains(lower, "maximum context length"), strings.Contains(lower, "context size"):
		return llmgateway.ContextLength
	case code == "content_filter", code == "content_policy_violation":
		return llmgateway.ContentFilter
	case code == "rate_limit_exceeded", code == "429":
		return llmgateway.RateLimited
	}
	return ""
}

// streamError makes an error of an event, or of an answer with status 200, that holds an error object.
func streamError(data []byte, redact func(string) string) *llmgateway.Error {
	object := gjson.GetBytes(data, "error")
	message := object.Get("message").String()
	if object.Type == gjson.String {
		message = object.Str
	}
	e := &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the provider reported an error", Err: errors.New(shorten(redact(message)))}
	if kind := kindOfObject(object, message); kind != "" {
		e.Kind = kind
	} else if status := int(object.Get("code").Int()); status >= 400 && status < 600 {
		e.Kind = kindOfStatus(status)
	}
	return e
}

// nothingInIt is the error for an answer that is none.
func nothingInIt() error {
	return &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the provider sent an answer with nothing in it"}
}

// transportError classes a failure to send a request or to read its answer. Addresses stay in the cause.
func transportError(ctx context.Context, err error) *llmgateway.Error {
	if ctx.Err() != nil {
		return llmgateway.AsError(context.Cause(ctx))
	}
	if e, ok := errors.AsType[*llmgateway.Error](err); ok {
		return e
	}
	e := &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the connection failed", Err: err}
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.As(err, &dns):
		e.Message = "the provider's host name cannot be resolved"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Message = "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		e.Message = "the provider closed the connection"
	case errors.As(err, &timeout) && timeout.Timeout():
		e.Kind, e.Message = llmgateway.Timeout, "the connection timed out"
	}
	return e
}

// retryAfter reads retry-after-ms (OpenAI's and Azure's) and Retry-After (RFC 9110, section 10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 && ms < 1e9 {
		return time.Duration(ms * float64(time.Millisecond))
	}
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds > 0 && seconds < 1e6 {
		return time.Duration(seconds * float64(time.Second))
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(date.Sub(now), 0)
	}
	return 0
}

// redact removes the values of the client's own headers, of which one is the API key.
func (c *Client) redact(text string) string {
	for _, values := range c.Header {
		for _, value := range values {
			if _, key, ok := strings.Cut(value, "Bearer "); ok {
				value = key
			}
			if len(value) >= 8 {
				text = strings.ReplaceAll(text, value, "[redacted]")
			}
		}
	}
	return text
}

func shorten(s string) string {
	const most = 300
	s = strings.TrimSpace(s)
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
