package openai

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// maxErrorBody is how much of a failed answer is read.
const maxErrorBody = 64 << 10

// statusError classes an answer whose status is not 200. text is its body.
func (c *Client) statusError(resp *http.Response, text []byte) *llmgateway.Error {
	e := &llmgateway.Error{
		Kind:       kindOfStatus(resp.StatusCode),
		Status:     resp.StatusCode,
		RetryAfter: retryAfter(resp.Header, time.Now()),
		Message:    "HTTP " + strconv.Itoa(resp.StatusCode),
	}
	explain(e, text, c.redact)
	// What a provider says of its own address is for the log only.
	if host := c.BaseURL.Host; strings.ContainsAny(host, ".:") {
		e.Message = strings.ReplaceAll(e.Message, host, "[address]")
	}
	return e
}

// streamError makes an error of an event, or of an answer with status 200, that holds an error object.
func streamError(data []byte, redact func(string) string) *llmgateway.Error {
	e := &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the provider reported an error"}
	object, _ := errorObject(data)
	if status := int(object.Get("code").Int()); status >= 400 && status < 600 {
		e.Kind, e.Status = kindOfStatus(status), status
	}
	explain(e, data, redact)
	return e
}

// explain completes an error with what the provider says of it. A client is told what is wrong with its request; the rest
// is for logs.
func explain(e *llmgateway.Error, text []byte, redact func(string) string) {
	object, message := errorObject(text)
	e.Kind = refine(e.Kind, object, message)
	code := object.Get("code")
	switch e.Kind {
	case llmgateway.Denied:
		e.Message = "the provider refused the gateway's credentials or credit (" + e.Message + ")"
		message = code.Str // the text may quote a part of the key
	case llmgateway.RateLimited:
		e.Message = "the provider's rate limit is reached (" + e.Message + ")"
	case llmgateway.InvalidRequest, llmgateway.ContextLength, llmgateway.Unsupported, llmgateway.ContentFilter:
		if message != "" {
			e.Message = redact(message)
		}
		if param := object.Get("param"); param.Type == gjson.String {
			e.Param = redact(param.Str)
		}
		// llama-server's code is the status.
		if code.Type == gjson.String && e.Kind == llmgateway.InvalidRequest {
			e.Code = redact(code.Str)
		}
	default:
	}
	if message == "" && e.Kind != llmgateway.Denied {
		message = string(text)
	}
	if message = shorten(redact(message)); message != "" {
		e.Err = errors.New(message)
	}
	if e.Kind == llmgateway.Upstream && e.Status == http.StatusRequestEntityTooLarge {
		// Another provider may take it, and if none does, the client can do something about it.
		e.Kind, e.Code = llmgateway.Unsupported, "request_too_large"
		e.Message = "the provider takes no request that is so large; send fewer or smaller images"
	}
}

// errorObject returns what describes the error in an answer, and its message. Most services have an object named error;
// Hugging Face's servers have a string, Gemini puts the whole into a list, and vLLM had no name for it.
func errorObject(text []byte) (object gjson.Result, message string) {
	root := gjson.ParseBytes(text)
	if root.IsArray() {
		root = root.Get("0")
	}
	object = root.Get("error")
	switch {
	case object.IsObject():
		return object, object.Get("message").String()
	case object.Type == gjson.String:
		return root, object.Str
	default:
		return root, root.Get("message").String()
	}
}

func kindOfStatus(status int) llmgateway.Kind {
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusUnsupportedMediaType:
		return llmgateway.InvalidRequest
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusPaymentRequired:
		return llmgateway.Denied
	case http.StatusTooManyRequests:
		return llmgateway.RateLimited
	case http.StatusNotImplemented: // llama-server, when it was started without embeddings
		return llmgateway.Unsupported
	case http.StatusServiceUnavailable, 529: // 529 is Anthropic's overloaded_error
		return llmgateway.Overloaded
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return llmgateway.Timeout
	default:
		return llmgateway.Upstream
	}
}

// refine returns the kind of an error whose status has the given kind, by code, type or words.
func refine(kind llmgateway.Kind, object gjson.Result, message string) llmgateway.Kind {
	unspecific := kind == llmgateway.InvalidRequest || kind == llmgateway.Upstream
	code := object.Get("code").String()
	switch {
	case code == "insufficient_quota" && (unspecific || kind == llmgateway.RateLimited):
		return llmgateway.Denied // no credit: waiting does not help
	case code == "content_filter" && unspecific, code == "content_policy_violation" && unspecific,
		object.Get("metadata.flagged_input").Exists(): // OpenRouter's moderation has status 403
		return llmgateway.ContentFilter
	case !unspecific:
		return kind
	case strings.HasPrefix(message, "API key not valid"): // Gemini's, with status 400
		return llmgateway.Denied
	case code == "context_length_exceeded", object.Get("type").String() == "exceed_context_size_error", tooLong(message):
		return llmgateway.ContextLength
	case code == "rate_limit_exceeded", code == "429":
		return llmgateway.RateLimited
	}
	return kind
}

// tooLong reports whether a message says that a request does not fit, in the words of any service known to us.
func tooLong(message string) bool {
	message = strings.ToLower(message)
	for _, words := range []string{
		"context length", "context size", "context window", "maximum model length",
		"`inputs` tokens + `max_new_tokens` must be", "`inputs` must have less than", // Hugging Face's text-generation-inference
		"prompt is too long",                           // Anthropic
		"input is too long for",                        // Bedrock
		"maximum prompt length",                        // xAI
		"exceeds the maximum number of tokens allowed", // Gemini
	} {
		if strings.Contains(message, words) {
			return true
		}
	}
	return false
}

// transportError classes a failure to send a request or to read its answer. Addresses stay in the cause.
func (c *Client) transportError(ctx context.Context, err error) *llmgateway.Error {
	if ctx.Err() != nil {
		return llmgateway.AsError(context.Cause(ctx))
	}
	if e, ok := errors.AsType[*llmgateway.Error](err); ok {
		return e
	}
	e := &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the connection failed", Err: c.hide(err)}
	var dns *net.DNSError
	var timeout net.Error
	var certificate *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &dns):
		e.Message = "the provider's host name cannot be resolved"
	case errors.As(err, &certificate):
		e.Message = "the provider's certificate is not to be trusted"
	case errors.As(err, &noTLS):
		e.Message = "the provider does not speak TLS"
	case tooMuchHeader(err):
		e.Message = "the header of the provider's answer is too large"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Message = "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		e.Message = "the provider closed the connection"
	case errors.As(err, &timeout) && timeout.Timeout():
		e.Kind, e.Message = llmgateway.Timeout, "the connection timed out"
	}
	return e
}

// tooMuchHeader reports whether an answer's header was larger than a transport takes. net/http has no error of its own for it.
func tooMuchHeader(err error) bool {
	text := err.Error()
	return strings.Contains(text, "headers exceeded") || strings.Contains(text, "header list larger")
}

// maxRetryAfter is the longest time that a provider is taken to ask for.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads retry-after-ms (OpenAI's and Azure's) and Retry-After (RFC 9110, section 10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	if wait, ok := wish(h.Get("Retry-After-Ms"), time.Millisecond); ok {
		return wait
	}
	value := h.Get("Retry-After")
	if wait, ok := wish(value, time.Second); ok {
		return wait
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(date.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// wish reads a number of units above 0.
func wish(value string, unit time.Duration) (wait time.Duration, ok bool) {
	n, err := strconv.ParseFloat(value, 64)
	if err != nil || !(n > 0) || math.IsInf(n, 0) {
		return 0, false
	}
	return time.Duration(min(n*float64(unit), float64(maxRetryAfter))), true
}

// redact removes the values of the client's own headers, of which one is the API key.
func (c *Client) redact(text string) string {
	for name, values := range c.Header {
		for _, secret := range values {
			shortest := 8 // a common word is no secret
			if name == "Authorization" {
				shortest = 4
				if _, credentials, ok := strings.Cut(secret, " "); ok {
					secret = credentials
				}
			}
			if len(secret) >= shortest {
				text = strings.ReplaceAll(text, secret, "[redacted]")
				text = strings.ReplaceAll(text, strings.ReplaceAll(secret, "/", `\/`), "[redacted]") // as PHP writes JSON
			}
		}
	}
	return text
}

// hide returns err without our keys, which it may have if it quotes what a server sent.
func (c *Client) hide(err error) error {
	if text := c.redact(err.Error()); text != err.Error() {
		return errors.New(text)
	}
	return err
}

func shorten(s string) string {
	const most = 300
	s = strings.TrimSpace(s)
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
