package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/dialect"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// ServeHTTP implements caddyhttp.MiddlewareHandler. It writes errors itself, as error objects of the API that was asked.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	path, versioned := endpoint(r.URL.Path)
	listing := h.listing.allowing(allowedModels(r.Context()))
	switch path {
	case "/chat/completions":
		return h.generate(w, r, openAI(llmgateway.Chat))
	case "/completions":
		return h.generate(w, r, openAI(llmgateway.Completion))
	case "/embeddings":
		return h.generate(w, r, openAI(llmgateway.Embeddings))
	case "/responses":
		return h.generate(w, r, response)
	case "/messages", "/messages/count_tokens":
		if !versioned { // a name that others use too
			break
		}
		if path == "/messages/count_tokens" {
			return h.countTokens(w, r)
		}
		return h.generate(w, r, messages)
	case "/models":
		return h.get(w, r, listing.models)
	case "/model/info":
		return h.get(w, r, listing.info)
	}
	if id, ok := strings.CutPrefix(path, "/models/"); ok {
		return h.get(w, r, func() (any, error) { return listing.model(id) })
	}
	if versioned {
		apiOf(r.URL.Path).fail(w, &llmgateway.Error{
			Kind: llmgateway.InvalidRequest, Status: http.StatusNotFound,
			Message: "there is no such endpoint; there are: POST /v1/chat/completions, POST /v1/completions, POST /v1/embeddings, POST /v1/responses, POST /v1/messages, POST /v1/messages/count_tokens, GET /v1/models, GET /v1/model/info",
		})
		return nil
	}
	return next.ServeHTTP(w, r)
}

// endpoint returns the path without the version, trailing and double slashes, and whether it had the version. Some
// clients append their path to a base URL that already ends in a slash.
func endpoint(path string) (rest string, versioned bool) {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	path = strings.TrimSuffix(path, "/")
	if rest, ok := strings.CutPrefix(path, "/v1/"); ok {
		return path[len(path)-len(rest)-1:], true
	}
	return path, false
}

// get answers a request for something that is known from the configuration.
func (h *Handler) get(w http.ResponseWriter, r *http.Request, object func() (any, error)) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		wrongMethod(w, "GET, HEAD")
		return nil
	}
	o, err := object()
	if err != nil {
		openai.WriteError(w, err)
		return nil
	}
	return writeJSON(w, http.StatusOK, o)
}

func wrongMethod(w http.ResponseWriter, allowed string) {
	openAI(llmgateway.Chat).wrongMethod(w, allowed)
}

// maxBody is the most that is read of a request when no request_body limit is set.
const maxBody = 1 << 30

// generate answers a request for tokens.
func (h *Handler) generate(w http.ResponseWriter, r *http.Request, api api) error {
	if r.Method != http.MethodPost {
		api.wrongMethod(w, "POST")
		return nil
	}
	inFlight.Add(1)
	defer inFlight.Add(-1)
	rec := newRecord(h, w, r)
	req, err := h.read(r, api)
	if err == nil {
		defer release(req)
		rec.asks(req)
		defer rec.settle() // if there is a panic
		err = rec.reserve(r.Context())
	}
	if err == nil {
		ctx, cancel := context.WithCancelCause(llmgateway.WithTrace(r.Context(), &rec.trace))
		defer cancel(nil)
		rec.pinger = h.pinger(w, req, cancel)
		rec.trace.Late = rec.pinger.Began
		err = api.write(w, req, rec.observe(h.answer(ctx, req)), rec.pinger, rec.lastComment)
	}
	rec.end(err)
	if err == nil {
		return nil
	}
	broken, began := errors.AsType[*openai.BrokenError](err)
	switch {
	case !began || broken.Empty:
		if c := h.logger.Check(zap.DebugLevel, "request failed"); c != nil {
			c.Write(rec.fields(err)...)
		}
	case llmgateway.AsError(broken.Err).Kind != llmgateway.Canceled:
		h.logger.Warn("answer broke off", rec.fields(broken.Err)...)
	}
	if !began {
		api.fail(w, err)
	}
	return nil
}

const defaultPingInterval = 15 * time.Second

// pinger returns what pings the client while it waits, or nil.
func (h *Handler) pinger(w http.ResponseWriter, req *llmgateway.Request, left context.CancelCauseFunc) *openai.Pinger {
	if !req.ClientStream {
		return h.padding(w, req, left)
	}
	if h.PingInterval < 0 {
		return nil
	}
	return openai.StartPinger(w, cmp.Or(time.Duration(h.PingInterval), defaultPingInterval), left)
}

// padding returns what sends white space to a client that waits for a whole answer, if it is one that needs that.
func (h *Handler) padding(w http.ResponseWriter, req *llmgateway.Request, left context.CancelCauseFunc) *openai.Pinger {
	p, ok := h.client.(padder)
	if !ok || req.Operation != llmgateway.Chat {
		return nil
	}
	first, interval := p.padding()
	if first <= 0 {
		return nil
	}
	return openai.StartPadding(w, first, interval, left)
}

// read reads the request, and lets the client's adapter change it. It is the caller's to release.
func (h *Handler) read(r *http.Request, api api) (*llmgateway.Request, error) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, &llmgateway.Error{
			Kind: llmgateway.InvalidRequest, Status: http.StatusUnsupportedMediaType,
			Message: "compressed request bodies are not supported; send the JSON as it is",
		}
	}
	body, err := llmgateway.ReadBody(r.Body, r.ContentLength, maxBody)
	if err != nil {
		return nil, readError(err)
	}
	req, err := api.read(body)
	if err != nil {
		body.Release()
		return nil, err
	}
	if req.Native != nil && !h.table.TakesNative(req) {
		dialect.Shed(req)
	}
	req.Tenant = tenant(r)
	req.Allowed = allowedModels(r.Context())
	req.Header = headerOf(r, h.ruleHeaders)
	req.Forward = headerOf(r, api.forward)
	req.Cache = cacheControl(r.Header.Values("Cache-Control"))
	if name := r.Header.Get("X-Llm-Provider"); name != "" {
		if req.Provider != "" && req.Provider != name {
			release(req)
			return nil, &llmgateway.Error{
				Kind: llmgateway.InvalidRequest, Param: "provider",
				Message: "the header X-LLM-Provider and the member \"provider\" name different providers; name one",
			}
		}
		req.Provider = name
	}
	return h.adapt(r.Context(), req)
}

// readError classes a failure to read the request.
func readError(err error) error {
	status := 0
	if he, ok := errors.AsType[caddyhttp.HandlerError](err); ok { // request_body's limit, and its timeouts
		status = he.StatusCode
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok || errors.Is(err, llmgateway.ErrBodyTooLarge) {
		status = http.StatusRequestEntityTooLarge
	}
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
		status = http.StatusRequestTimeout
	}
	switch {
	case status == http.StatusRequestEntityTooLarge:
		return &llmgateway.Error{
			Kind: llmgateway.InvalidRequest, Status: status, Code: "request_too_large", Err: err,
			Message: "the request body is larger than this gateway accepts; send fewer or smaller images",
		}
	case status == http.StatusRequestTimeout:
		return &llmgateway.Error{Kind: llmgateway.InvalidRequest, Status: status, Message: "the request body did not arrive in time", Err: err}
	case status >= 400 && status < 500, !left(err):
		status = max(status, http.StatusBadRequest)
		return &llmgateway.Error{Kind: llmgateway.InvalidRequest, Status: status, Message: "the request body could not be read", Err: err}
	default:
		return &llmgateway.Error{Kind: llmgateway.Canceled, Message: "the client closed the request", Err: err}
	}
}

// left reports whether err means that the connection ended, and not that what came over it makes no sense.
func left(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.Canceled) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrBodyReadAfterClose) || errors.Is(err, syscall.ECONNRESET)
}
