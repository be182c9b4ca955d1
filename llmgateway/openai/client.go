package openai

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Client is a Provider over any endpoint that speaks OpenAI's API. Its fields are not changed after first use.
type Client struct {
	// BaseURL is what the operation's path is appended to, such as https://openrouter.ai/api/v1.
	BaseURL *url.URL
	// Header is sent with every request. Its values are kept out of errors.
	Header http.Header
	// Transport sends the requests; [DefaultTransport] if nil. Redirects are not followed: they would take the API key
	// to another server.
	Transport http.RoundTripper
	// Endpoints are the APIs that the server speaks besides chat's.
	Endpoints []llmgateway.Operation

	once         sync.Once
	events, json http.Header // Header and what every request has, by what is accepted
}

// NewClient returns a Client for a base URL. An API key that is not empty is sent as a bearer token.
func NewClient(baseURL, apiKey string, header http.Header, transport http.RoundTripper) (*Client, error) {
	u, err := url.Parse(strings.TrimRight(baseURL, "/"))
	if err != nil {
		return nil, errors.New("base URL: not a URL") // the URL may hold credentials
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("base URL: write it as https://host/path")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("base URL: credentials, query and fragment do not belong there; use api_key or header")
	}
	header = header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if apiKey != "" {
		header.Set("Authorization", "Bearer "+apiKey)
	}
	return &Client{BaseURL: u, Header: header, Transport: transport}, nil
}

// DefaultTransport returns a new transport for model servers: connecting is bounded, waiting for an answer is not,
// since how long a generation may take is decided elsewhere.
func DefaultTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           DialForBodies((&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext),
		TLSHandshakeTimeout:   10 * time.Second,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   128,
		IdleConnTimeout:       2 * time.Minute,
		ExpectContinueTimeout: time.Second,
		// A compressed stream may hold tokens back.
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
		WriteBufferSize:        16 << 10,
		ReadBufferSize:         16 << 10,
	}
}

// maxHeader bounds the header of an answer.
const maxHeader = 256 << 10

var defaultTransport = sync.OnceValue(DefaultTransport)

// Speaks implements llmgateway.Speaker.
func (c *Client) Speaks(op llmgateway.Operation) bool { return slices.Contains(c.Endpoints, op) }

// Generate implements llmgateway.Provider.
func (c *Client) Generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		resp, err := c.send(ctx, req)
		if err != nil {
			yield(llmgateway.Event{}, err)
			return
		}
		defer resp.Body.Close()
		accepted := func(event llmgateway.Event, err error) bool { return yield(event, ofAccepted(err)) }
		if req.Stream {
			c.stream(ctx, req, resp, accepted)
			return
		}
		c.whole(ctx, req, resp, accepted)
	}
}

// ofAccepted returns the error of a request that the provider had taken, with status 200: it has begun to work, unless it says
// that it refuses after all.
func ofAccepted(err error) error {
	if err == nil {
		return nil
	}
	if e := llmgateway.AsError(err); e.Status >= 400 || e.Used != nil {
		return err
	}
	return begun(err, llmgateway.Usage{})
}

// send sends the request and returns an answer with status 200.
func (c *Client) send(ctx context.Context, req *llmgateway.Request) (*http.Response, error) {
	c.once.Do(c.prepare)
	segments, size := splice(req)
	u := *c.BaseURL
	u.Path += path(req.Operation)
	header := c.headerFor(req)
	if sending := llmgateway.ContextTrace(ctx).Sending; sending != nil {
		if more := sending(ctx); len(more) > 0 {
			header = header.Clone() // it is every request's
			maps.Copy(header, more)
		}
	}
	newBody := bodies(req.Body, segments, size)
	hr := (&http.Request{
		Method: http.MethodPost, URL: &u, Host: u.Host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: newBody(), ContentLength: int64(size),
		GetBody: func() (io.ReadCloser, error) { return newBody(), nil },
	}).WithContext(ctx)
	transport := c.Transport
	if transport == nil {
		transport = defaultTransport()
	}
	resp, err := transport.RoundTrip(hr)
	if err != nil && brokeWriting(err) && ctx.Err() == nil {
		// net/http repeats a request by itself when a kept connection turns out to be dead, unless it notices in the middle
		// of a body, as it does with large ones.
		again := *hr
		again.Body = newBody()
		resp, err = transport.RoundTrip(&again)
	}
	if err != nil {
		return nil, c.transportError(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text := readFailure(resp.Body)
		if ctx.Err() != nil {
			return nil, c.transportError(ctx, ctx.Err())
		}
		return nil, c.statusError(resp, text)
	}
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		_ = resp.Body.Close()
		return nil, begun(&llmgateway.Error{
			Kind: llmgateway.Upstream, Message: "the provider sent a compressed answer, which nobody asked for",
		}, llmgateway.Usage{})
	}
	return resp, nil
}

// failureTime is how long the text of a failed answer is waited for; that it failed is known.
const failureTime = 5 * time.Second

// readFailure reads what a failed answer says, as far as it comes.
func readFailure(body io.ReadCloser) []byte {
	stop := time.AfterFunc(failureTime, func() { _ = body.Close() })
	defer stop.Stop()
	text, _ := io.ReadAll(io.LimitReader(body, maxErrorBody))
	return text
}

// brokeWriting reports whether a connection broke while the request was sent, so that nobody can have answered it.
func brokeWriting(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && strings.HasPrefix(op.Op, "write")
}

// prepare makes the headers that all requests share. A RoundTripper does not change them.
func (c *Client) prepare() {
	c.json = c.Header.Clone()
	if c.json == nil {
		c.json = http.Header{}
	}
	c.json.Set("Content-Type", "application/json")
	// Transports of others may ask for compressed answers by themselves, which hold tokens back and may be large beyond measure.
	c.json.Set("Accept-Encoding", "identity")
	if c.json.Get("User-Agent") == "" {
		c.json.Set("User-Agent", "llmgateway")
	}
	// An empty list is not sent; it tells net/http that it may repeat the request on a fresh connection when a kept one
	// turns out to be dead (https://pkg.go.dev/net/http#Transport).
	c.json["Idempotency-Key"] = []string{}
	c.events = c.json.Clone()
	c.json.Set("Accept", "application/json")
	c.events.Set("Accept", "text/event-stream")
}

// headerFor returns the header to send with a request.
func (c *Client) headerFor(req *llmgateway.Request) http.Header {
	header := c.json
	if req.Stream {
		header = c.events
	}
	if !req.Operation.Foreign() {
		return header
	}
	header = header.Clone()
	maps.Copy(header, req.Forward)
	if req.Operation == llmgateway.Messages && header.Get("Anthropic-Version") == "" {
		header.Set("Anthropic-Version", "2023-06-01")
	}
	return header
}

func path(op llmgateway.Operation) string {
	switch op {
	case llmgateway.Messages:
		return "/messages"
	case llmgateway.Responses:
		return "/responses"
	case llmgateway.Completion:
		return "/completions"
	case llmgateway.Embeddings:
		return "/embeddings"
	default:
		return "/chat/completions"
	}
}

// maxAnswer bounds an answer that is not streamed; a batch of embeddings takes megabytes.
const maxAnswer = 128 << 20

// whole yields an answer that is not streamed.
func (c *Client) whole(ctx context.Context, req *llmgateway.Request, resp *http.Response, yield func(llmgateway.Event, error) bool) {
	if !isType(resp, "application/json") {
		yield(llmgateway.Event{}, c.unexpectedType(resp, "JSON"))
		return
	}
	body, err := llmgateway.ReadBody(resp.Body, resp.ContentLength, maxAnswer)
	if errors.Is(err, llmgateway.ErrBodyTooLarge) {
		yield(llmgateway.Event{}, &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the provider's answer is too large", Err: err})
		return
	}
	if err != nil {
		yield(llmgateway.Event{}, c.transportError(ctx, fmt.Errorf("reading the answer: %w", err)))
		return
	}
	defer body.Release()
	in := inspector{operation: req.Operation, redact: c.redact}
	yield(in.inspect(body.Bytes, true))
}

// stream yields a stream's events.
func (c *Client) stream(ctx context.Context, req *llmgateway.Request, resp *http.Response, yield func(llmgateway.Event, error) bool) {
	if !isType(resp, "text/event-stream") {
		c.notStream(resp, yield)
		return
	}
	events := newEventReader(resp.Body)
	defer events.free()
	in := inspector{operation: req.Operation, redact: c.redact}
	for {
		data, err := events.next()
		if err != nil {
			if in.finished >= answers(req) && !errors.Is(context.Cause(ctx), context.Canceled) {
				return // some servers leave out the end marker; the finish reason says that the answer is whole
			}
			yield(llmgateway.Event{}, c.brokenStream(ctx, err))
			return
		}
		if string(data) == "[DONE]" {
			if events.err == nil {
				drain(resp.Body)
			}
			if !in.carried {
				yield(llmgateway.Event{}, nothingInIt())
			}
			return
		}
		event, err := in.inspect(data, false)
		event.More = err == nil && events.more()
		if !yield(event, err) || err != nil {
			return
		}
	}
}

// answers returns how many answers a request asks for.
func answers(req *llmgateway.Request) int {
	n := 1
	if m, ok := req.Lookup("n"); ok {
		n = max(n, int(gjson.ParseBytes(req.Raw(m)).Int()))
	}
	if m, ok := req.Lookup("prompt"); ok && req.Operation == llmgateway.Completion {
		// A list is one prompt for each element, unless they are tokens.
		if prompts := gjson.ParseBytes(req.Raw(m)); prompts.IsArray() && prompts.Get("0").Type != gjson.Number {
			n *= max(1, int(prompts.Get("#").Int()))
		}
	}
	return n
}

func (c *Client) brokenStream(ctx context.Context, err error) error {
	if (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) && ctx.Err() == nil {
		return &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the stream ended before the answer did", Err: err}
	}
	return c.transportError(ctx, fmt.Errorf("reading the stream: %w", err))
}

// drain reads what follows the end marker, normally nothing, so that the connection can be used again. A server that
// does not end its answer loses the connection instead.
func drain(body io.ReadCloser) {
	stop := time.AfterFunc(drainTime, func() { _ = body.Close() })
	defer stop.Stop()
	_, _ = io.CopyN(io.Discard, body, maxErrorBody)
}

const drainTime = 100 * time.Millisecond

// notStream reports an answer to a streaming request that is no stream: most often an error object with status 200.
func (c *Client) notStream(resp *http.Response, yield func(llmgateway.Event, error) bool) {
	text := readFailure(resp.Body)
	if members, err := scanObject(text, nil, nil); err == nil && lastIndex(members, "error") >= 0 {
		yield(llmgateway.Event{}, streamError(text, c.redact))
		return
	}
	yield(llmgateway.Event{}, c.unexpectedType(resp, "an event stream"))
}

func isType(resp *http.Response, want string) bool {
	value := resp.Header.Get("Content-Type")
	if value == want {
		return true
	}
	mediaType, _, err := mime.ParseMediaType(value)
	return mediaType == want && (err == nil || errors.Is(err, mime.ErrInvalidMediaParameter))
}

func (c *Client) unexpectedType(resp *http.Response, want string) error {
	return &llmgateway.Error{
		Kind:    llmgateway.Upstream,
		Status:  resp.StatusCode,
		Message: "the provider did not answer with " + want,
		Err:     fmt.Errorf("content type %q", shorten(c.redact(resp.Header.Get("Content-Type")))),
	}
}
