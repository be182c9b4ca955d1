package openai

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestNewClientTakesOnlyAPlainBaseURL(t *testing.T) {
	for base, want := range map[string]bool{
		"https://api.example.com/v1":        true,
		"https://api.example.com/v1///":     true,
		"http://127.0.0.1:8080":             true,
		"http://[::1]:8080/v1":              true,
		"":                                  false,
		"api.example.com/v1":                false,
		"ftp://api.example.com":             false,
		"file:///etc/passwd":                false,
		"https://":                          false,
		"https://user:sekret@example.com/":  false,
		"https://example.com/v1?key=secr3t": false,
		"https://example.com/v1#secr3t":     false,
		"https://exa mple.com":              false,
		"https://sekret@%zz":                false,
	} {
		_, err := NewClient(base, "", nil, nil)
		if got := err == nil; got != want {
			t.Errorf("%s: got %t (%v), want %t", base, got, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "sekret") || strings.Contains(err.Error(), "secr3t")) {
			t.Errorf("%s: %v quotes what may be secret", base, err)
		}
	}
}

func TestClientSendsTheClientsBytes(t *testing.T) {
	fixtures := requestFixtures(t)
	for _, test := range []struct {
		fixture   string
		operation llmgateway.Operation
		path      string
	}{
		{"chat", llmgateway.Chat, "/base/v1/chat/completions"},
		{"agent", llmgateway.Chat, "/base/v1/chat/completions"},
		{"completions", llmgateway.Completion, "/base/v1/completions"},
		{"embeddings", llmgateway.Embeddings, "/base/v1/embeddings"},
	} {
		t.Run(test.fixture, func(t *testing.T) {
			var got *http.Request
			var body []byte
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = r
				body, _ = io.ReadAll(r.Body)
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, `{"choices":[{}],"data":[{}]}`)
			}))
			defer server.Close()
			c, err := NewClient(server.URL+"/base/v1/", "sk-0123456789", http.Header{"X-Title": {"a title"}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			r, err := Read(test.operation, llmgateway.NewBody(fixtures[test.fixture]))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := collect(t, c, r); err != nil {
				t.Fatal(err)
			}
			if string(body) != string(fixtures[test.fixture]) || got.ContentLength != int64(len(body)) {
				t.Errorf("got  %s (%d bytes announced)\nwant %s", body, got.ContentLength, fixtures[test.fixture])
			}
			if got.Method != http.MethodPost || got.URL.Path != test.path {
				t.Errorf("got %s %s, want POST %s", got.Method, got.URL.Path, test.path)
			}
			for field, want := range map[string]string{
				"Content-Type": "application/json", "Accept": "application/json", "Authorization": "Bearer sk-0123456789",
				"X-Title": "a title", "User-Agent": "llmgateway", "Accept-Encoding": "identity", "Idempotency-Key": "",
			} {
				if got := got.Header.Get(field); got != want {
					t.Errorf("%s: got %q, want %q", field, got, want)
				}
			}
		})
	}
}

func TestClientSendsNoKeyIfThereIsNone(t *testing.T) {
	c, err := NewClient("http://model", "", nil, roundTripFunc(func(r *http.Request) (*http.Response, error) {
		if _, ok := r.Header["Authorization"]; ok {
			t.Errorf("got %q", r.Header["Authorization"])
		}
		return response(200, nil, `{"choices":[{}]}`), nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := collect(t, c, read(t, `{"model":"m"}`)); err != nil {
		t.Error(err)
	}
}

const (
	textChunk   = `{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}`
	roleChunk   = `{"choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]}`
	finishChunk = `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
	usageChunk  = `{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`
)

// sse makes a stream of events, the last of which may be the end marker.
func sse(events ...string) string {
	var b strings.Builder
	for _, event := range events {
		b.WriteString("data: " + event + "\n\n")
	}
	return b.String()
}

func TestClientReadsStreams(t *testing.T) {
	tests := []struct {
		name   string
		answer string
		want   []string
		// err is a part of the error's message, or empty.
		err string
	}{
		{"whole", sse(roleChunk, textChunk, finishChunk, usageChunk, "[DONE]"), []string{roleChunk, textChunk, finishChunk, usageChunk}, ""},
		{"whole with CRLF", strings.ReplaceAll(sse(roleChunk, textChunk, finishChunk, "[DONE]"), "\n", "\r\n"), []string{roleChunk, textChunk, finishChunk}, ""},
		{"with comments", ": wait\n\n" + sse(roleChunk) + ": wait\n\n" + sse(textChunk, finishChunk, "[DONE]"), []string{roleChunk, textChunk, finishChunk}, ""},
		{"without the end marker", sse(roleChunk, textChunk, finishChunk), []string{roleChunk, textChunk, finishChunk}, ""},
		{"without the end marker, with usage", sse(textChunk, finishChunk, usageChunk), []string{textChunk, finishChunk, usageChunk}, ""},
		{"without a finish reason", sse(textChunk, "[DONE]"), []string{textChunk}, ""},
		{"what follows the end marker", sse(textChunk, finishChunk, "[DONE]", textChunk), []string{textChunk, finishChunk}, ""},
		{"without either", sse(roleChunk, textChunk), []string{roleChunk, textChunk}, "the stream ended before the answer did"},
		{"cut inside an event", sse(roleChunk) + "data: " + textChunk[:20], []string{roleChunk}, "the stream ended before the answer did"},
		{"no event", "", nil, "the stream ended before the answer did"},
		{"comments only", ": wait\n\n: wait\n\n", nil, "the stream ended before the answer did"},
		{"the end marker only", sse("[DONE]"), nil, "nothing in it"},
		{"a role only", sse(roleChunk, "[DONE]"), []string{roleChunk}, "nothing in it"},
		{"garbage", sse(textChunk, `{"choices":[{"delta":{"con`), []string{textChunk}, "malformed"},
		{"garbage first", sse(`<html>`), nil, "malformed"},
		{"no object", sse(`[]`), nil, "malformed"},
		{"an error event", sse(textChunk, `{"error":{"message":"boom","code":500}}`), []string{textChunk}, "reported an error"},
		{"an error line", sse(textChunk) + `error: {"error":{"message":"boom"}}` + "\n\n", []string{textChunk}, "reported an error"},
		{"an error that is a string", sse(`{"error":"boom"}`), nil, "reported an error"},
		{"an error beside choices", sse(`{"error":{"code":502,"message":"boom"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}`), nil, "reported an error"},
		{"an error that is the event", sse(textChunk, `{"object":"error","message":"boom","type":"InternalServerError","code":500}`, "[DONE]"), []string{textChunk}, "reported an error"},
		{"an error as the reason", sse(textChunk, `{"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}`, "[DONE]"), []string{textChunk}, "reported an error"},
		{"an error that is null", sse(`{"error":null,"choices":[{"delta":{"content":"a"}}]}`, "[DONE]"), []string{`{"error":null,"choices":[{"delta":{"content":"a"}}]}`}, ""},
		{"HTML in a stream", "<html><body>Bad Gateway</body></html>\n\n", nil, "the stream ended before the answer did"},
	}
	for _, test := range tests {
		for _, closed := range []string{"properly", "improperly"} {
			t.Run(test.name+", closed "+closed, func(t *testing.T) {
				var body io.Reader = strings.NewReader(test.answer)
				if closed == "improperly" {
					body = io.MultiReader(body, readerFunc(func([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }))
				}
				c := clientOf(t, func(r *http.Request) (*http.Response, error) {
					if got := r.Header.Get("Accept"); got != "text/event-stream" {
						t.Errorf("got Accept: %s", got)
					}
					resp := response(200, http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}}, "")
					resp.Body = io.NopCloser(body)
					return resp, nil
				})
				got, err := collect(t, c, read(t, `{"model":"m","stream":true}`))
				if !slices.Equal(got, test.want) {
					t.Errorf("got  %q\nwant %q", got, test.want)
				}
				if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
					t.Errorf("got error %v, want %q", err, test.err)
				}
			})
		}
	}
}

// TestClientWaitsForEveryChoiceOfAStream has a stream of two choices, of which one is cut.
func TestClientWaitsForEveryChoiceOfAStream(t *testing.T) {
	first, second := `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`, `{"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}`
	both := `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"},{"index":1,"delta":{},"finish_reason":"stop"}]}`
	tests := []struct {
		name      string
		operation llmgateway.Operation
		request   string
		answer    string
		whole     bool
	}{
		{"one of two", llmgateway.Chat, `{"model":"m","stream":true,"n":2}`, sse(textChunk, first), false},
		{"two of two", llmgateway.Chat, `{"model":"m","stream":true,"n":2}`, sse(textChunk, first, second), true},
		{"two of two at once", llmgateway.Chat, `{"model":"m","stream":true,"n":2}`, sse(textChunk, both), true},
		{"one of two and the end marker", llmgateway.Chat, `{"model":"m","stream":true,"n":2}`, sse(textChunk, first, "[DONE]"), true},
		{"one of one", llmgateway.Chat, `{"model":"m","stream":true,"n":1}`, sse(textChunk, first), true},
		{"n is null", llmgateway.Chat, `{"model":"m","stream":true,"n":null}`, sse(textChunk, first), true},
		{"n is nonsense", llmgateway.Chat, `{"model":"m","stream":true,"n":"x"}`, sse(textChunk, first), true},
		{"one of two prompts", llmgateway.Completion, `{"model":"m","stream":true,"prompt":["a","b"]}`, sse(first), false},
		{"both prompts", llmgateway.Completion, `{"model":"m","stream":true,"prompt":["a","b"]}`, sse(first, second), true},
		{"one prompt of tokens", llmgateway.Completion, `{"model":"m","stream":true,"prompt":[1,2,3]}`, sse(first), true},
		{"two prompts of tokens, twice", llmgateway.Completion, `{"model":"m","stream":true,"n":2,"prompt":[[1],[2]]}`, sse(both), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := clientOf(t, func(*http.Request) (*http.Response, error) {
				return response(200, http.Header{"Content-Type": {"text/event-stream"}}, test.answer), nil
			})
			r, err := Read(test.operation, llmgateway.NewBody([]byte(test.request)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := collect(t, c, r); (err == nil) != test.whole {
				t.Errorf("got %v, want a whole answer: %t", err, test.whole)
			}
		})
	}
}

func TestClientTakesAFinishedAnswerForWhole(t *testing.T) {
	reset := &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}
	for name, end := range map[string]error{"end": io.EOF, "cut": io.ErrUnexpectedEOF, "reset": reset} {
		c := clientOf(t, func(*http.Request) (*http.Response, error) {
			resp := response(200, http.Header{"Content-Type": {"text/event-stream"}}, "")
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(sse(textChunk, finishChunk)), readerFunc(func([]byte) (int, error) { return 0, end })))
			return resp, nil
		})
		if _, err := collect(t, c, read(t, `{"model":"m","stream":true}`)); err != nil {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestClientWantsTheTypeItAskedFor(t *testing.T) {
	whole := `{"choices":[{"message":{"content":"a"}}]}`
	tests := []struct {
		contentType string
		stream      bool
		answer      string
		err         string
	}{
		{"application/json", false, whole, ""},
		{"application/json; charset=utf-8", false, whole, ""},
		{"Application/JSON;charset", false, whole, ""},
		{"text/html", false, whole, "did not answer with JSON"},
		{"", false, whole, "did not answer with JSON"},
		{"text/event-stream", false, sse(textChunk, "[DONE]"), "did not answer with JSON"},
		{"application/json", false, "<html>", "malformed"},
		{"application/json", false, whole[:20], "malformed"},
		{"application/json", false, "", "malformed"},
		{"application/json", false, `{"error":{"message":"boom"}}`, "reported an error"},
		{"application/json", false, `{"choices":[]}`, "nothing in it"},
		{"text/event-stream", true, sse(textChunk, "[DONE]"), ""},
		{"text/event-stream;charset=UTF-8", true, sse(textChunk, "[DONE]"), ""},
		{"application/json", true, whole, "did not answer with an event stream"},
		{"application/json", true, `{"error":{"message":"boom"}}`, "reported an error"},
		{"text/html", true, "<html>Bad Gateway</html>", "did not answer with an event stream"},
		{"", true, "", "did not answer with an event stream"},
	}
	for _, test := range tests {
		c := clientOf(t, func(*http.Request) (*http.Response, error) {
			return response(200, http.Header{"Content-Type": {test.contentType}}, test.answer), nil
		})
		r := read(t, `{"model":"m"}`)
		r.Stream = test.stream
		_, err := collect(t, c, r)
		if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%q, stream %t: got %v, want %q", test.contentType, test.stream, err, test.err)
		}
		if err != nil && llmgateway.AsError(err).Kind != llmgateway.Upstream {
			t.Errorf("%q, stream %t: got %s, want upstream", test.contentType, test.stream, llmgateway.AsError(err).Kind)
		}
	}
}

func TestClientDoesNotFollowRedirects(t *testing.T) {
	var asked atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer elsewhere.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/v1/chat/completions", status)
		}))
		c, err := NewClient(server.URL, "sk-0123456789", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, stream := range []bool{false, true} {
			if e := llmgateway.AsError(generateError(t, c, stream)); e.Kind != llmgateway.Upstream || e.Status != status {
				t.Errorf("%d: got %+v", status, e)
			}
		}
		server.Close()
	}
	if asked.Load() > 0 {
		t.Error("another server was asked")
	}
}

// TestClientRepeatsARequestThatMetADeadConnection has a server that closes connections while they are idle, as every
// server does now and then. That is no failed attempt.
func TestClientRepeatsARequestThatMetADeadConnection(t *testing.T) {
	server := newRawServer(t, func(conn net.Conn, r *bufio.Reader, n int) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		answerRaw(conn, `{"choices":[{}]}`)
		if n%2 == 0 {
			// The second request on this connection is read, and its connection closed before any answer.
			_, _ = http.ReadRequest(r)
		}
	})
	transport := DefaultTransport()
	t.Cleanup(transport.CloseIdleConnections) // before the server waits for them
	c, err := NewClient("http://"+server.addr, "", nil, transport)
	if err != nil {
		t.Fatal(err)
	}
	const requests = 20
	for i := range requests {
		body := fmt.Sprintf(`{"model":"m","x":%q}`, strings.Repeat("x", i*i*1000))
		if _, err := collect(t, c, read(t, body)); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	if got := server.conns.Load(); got < requests/2 || got > 2*requests {
		t.Errorf("got %d connections for %d requests", got, requests)
	}
}

func TestClientRepeatsARequestThatCouldNotBeSent(t *testing.T) {
	pipe := &net.OpError{Op: "writev", Err: errors.New("broken pipe")}
	reset := &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}
	for name, test := range map[string]struct {
		errs  []error
		tries int
		ok    bool
	}{
		"once":                 {[]error{pipe}, 2, true},
		"wrapped":              {[]error{fmt.Errorf("transport connection broken: %w", pipe)}, 2, true},
		"twice":                {[]error{pipe, pipe}, 2, false},
		"another error":        {[]error{reset}, 1, false},
		"another error behind": {[]error{pipe, reset}, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			tries := 0
			c := clientOf(t, func(r *http.Request) (*http.Response, error) {
				tries++
				body, err := io.ReadAll(r.Body)
				if string(body) != `{"model":"m"}` || err != nil {
					t.Errorf("try %d: got %q, %v", tries, body, err)
				}
				r.Body.Close()
				if tries <= len(test.errs) {
					return nil, test.errs[tries-1]
				}
				return response(200, nil, `{"choices":[{}]}`), nil
			})
			_, err := collect(t, c, read(t, `{"model":"m"}`))
			if (err == nil) != test.ok || tries != test.tries {
				t.Errorf("got %v after %d tries; want success %t after %d", err, tries, test.ok, test.tries)
			}
		})
	}
}

func TestClientUsesAConnectionAgainAfterAStream(t *testing.T) {
	for name, delay := range map[string]time.Duration{"ends at once": 0, "ends a little later": 20 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			var conns atomic.Int64
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, sse(textChunk, finishChunk, "[DONE]"))
				_ = http.NewResponseController(w).Flush()
				select {
				case <-time.After(delay):
				case <-r.Context().Done():
				}
			}))
			server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					conns.Add(1)
				}
			}
			server.Start()
			defer server.Close()
			c, err := NewClient(server.URL, "", nil, DefaultTransport())
			if err != nil {
				t.Fatal(err)
			}
			for range 5 {
				if _, err := collect(t, c, read(t, `{"model":"m","stream":true}`)); err != nil {
					t.Fatal(err)
				}
			}
			// How long the client waits for the end of an answer is bounded, and a busy machine may need longer now and then.
			if got := conns.Load(); got > 3 {
				t.Errorf("got %d connections for 5 requests", got)
			}
		})
	}
}

func TestClientDoesNotWaitForAServerThatDoesNotEndItsAnswer(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, sse(textChunk, finishChunk, "[DONE]"))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(release)
	c, err := NewClient(server.URL, "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := collect(t, c, read(t, `{"model":"m","stream":true}`)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestClientStopsTheGenerationWhenTheLoopEnds covers breaking out and canceling.
func TestClientStopsTheGenerationWhenTheLoopEnds(t *testing.T) {
	stopped := make(chan struct{}, 2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, sse(textChunk))
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		stopped <- struct{}{}
	}))
	defer server.Close()
	c, err := NewClient(server.URL, "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("break", func(t *testing.T) {
		for _, err := range c.Generate(t.Context(), read(t, `{"model":"m","stream":true}`)) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		<-stopped
	})
	t.Run("cancel", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var last error
		for _, err := range c.Generate(ctx, read(t, `{"model":"m","stream":true}`)) {
			last = err
			cancel()
		}
		if got := llmgateway.AsError(last).Kind; last == nil || got != llmgateway.Canceled {
			t.Errorf("got %v, want canceled", last)
		}
		<-stopped
	})
}

func TestClientSaysWhyAConnectionFailed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	listener.Close()
	hangup := newRawServer(t, func(net.Conn, *bufio.Reader, int) {})
	garbage := newRawServer(t, func(conn net.Conn, _ *bufio.Reader, _ int) { _, _ = io.WriteString(conn, "220 smtp ready\r\n") })
	short := newRawServer(t, func(conn net.Conn, r *bufio.Reader, _ int) {
		_, _ = http.ReadRequest(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	})
	plain, secret := httptest.NewServer(http.NotFoundHandler()), httptest.NewUnstartedServer(http.NotFoundHandler())
	secret.Config.ErrorLog = log.New(io.Discard, "", 0) // a client does not trust it
	secret.StartTLS()
	defer plain.Close()
	defer secret.Close()
	for name, test := range map[string]struct{ scheme, addr, message string }{
		"nobody listens":   {"http", closed, "connection refused"},
		"hangs up":         {"http", hangup.addr, ""},
		"speaks no HTTP":   {"http", garbage.addr, "the connection failed"},
		"ends its answer":  {"http", short.addr, ""},
		"has no such name": {"http", "does-not-exist.invalid:80", "the provider's host name cannot be resolved"},
		"speaks no TLS":    {"https", plain.Listener.Addr().String(), "the provider does not speak TLS"},
		"is a stranger":    {"https", secret.Listener.Addr().String(), "the provider's certificate is not to be trusted"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := NewClient(test.scheme+"://"+test.addr, "", nil, DefaultTransport())
			if err != nil {
				t.Fatal(err)
			}
			e := llmgateway.AsError(generateError(t, c, false))
			if e.Kind != llmgateway.Upstream || test.message != "" && e.Message != test.message || strings.Contains(e.Message, test.addr) {
				t.Errorf("got %s, %q; want upstream, %q", e.Kind, e.Message, test.message)
			}
		})
	}
}

func TestClientTellsADeadlineFromACancellation(t *testing.T) {
	cause := &llmgateway.Error{Kind: llmgateway.Timeout, Message: "no first token within 1s"}
	for name, test := range map[string]struct {
		cause error
		want  llmgateway.Kind
	}{
		"canceled": {nil, llmgateway.Canceled}, "deadline of ours": {cause, llmgateway.Timeout}, "any deadline": {context.DeadlineExceeded, llmgateway.Timeout},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		c := clientOf(t, func(r *http.Request) (*http.Response, error) {
			cancel(test.cause)
			return nil, r.Context().Err()
		})
		for _, err := range c.Generate(ctx, read(t, `{"model":"m"}`)) {
			if got := llmgateway.AsError(err).Kind; err == nil || got != test.want {
				t.Errorf("%s: got %v, want %s", name, err, test.want)
			}
		}
	}
}

// TestClientServesManyAtOnce is for the race detector: requests share the headers.
func TestClientServesManyAtOnce(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Header.Get("Accept") == "application/json" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"choices":[{}]}`)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, sse(roleChunk, textChunk, finishChunk, "[DONE]"))
	}))
	defer server.Close()
	c := &Client{BaseURL: mustURL(t, server.URL)}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			r := read(t, fmt.Sprintf(`{"model":"m","stream":%t}`, i%2 == 0))
			if _, err := collect(t, c, r); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// clientOf returns a client without a network.
func clientOf(t *testing.T, roundTrip func(*http.Request) (*http.Response, error)) *Client {
	t.Helper()
	c, err := NewClient("https://api.example.com/v1", "sk-0123456789", nil, roundTripFunc(roundTrip))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// collect returns the data of all events, and the error that ends them.
func collect(t *testing.T, p llmgateway.Provider, r *llmgateway.Request) (events []string, failed error) {
	t.Helper()
	for event, err := range p.Generate(t.Context(), r) {
		if failed != nil {
			t.Error("an event follows an error")
		}
		if failed = err; err == nil {
			events = append(events, string(event.Data))
		}
	}
	return events, failed
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// rawServer serves connections by hand.
type rawServer struct {
	addr  string
	conns atomic.Int64
}

func newRawServer(t *testing.T, serve func(conn net.Conn, r *bufio.Reader, n int)) *rawServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &rawServer{addr: listener.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			n := int(s.conns.Add(1))
			wg.Go(func() {
				defer conn.Close()
				serve(conn, bufio.NewReader(conn), n)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		wg.Wait()
	})
	return s
}

func answerRaw(w io.Writer, body string) {
	_, _ = fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}
