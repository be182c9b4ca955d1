package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/tidwall/gjson"
)

// received is what a model server was asked.
type received struct {
	mu     sync.Mutex
	path   string
	body   string
	header http.Header
}

func (r *received) take(hr *http.Request) string {
	body, _ := io.ReadAll(hr.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.path, r.body, r.header = hr.URL.Path, string(body), hr.Header
	return string(body)
}

func (r *received) get() (path, body string, header http.Header) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.path, r.body, r.header
}

// nativeMessage is what a server that speaks Anthropic's API answers. The signature is nothing that a chat could carry.
const nativeMessage = `{"id":"msg_native","type":"message","role":"assistant","model":"claude","content":[{"type":"thinking","thinking":"hm","signature":"c2ln"},{"type":"text","text":"native"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"cache_read_input_tokens":2,"output_tokens":4}}`

var nativeEvents = []string{
	`{"type":"message_start","message":{"id":"msg_native","type":"message","role":"assistant","model":"claude","content":[],"usage":{"input_tokens":3,"output_tokens":1}}}`,
	`{"type":"ping"}`,
	`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
	`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"native"}}`,
	`{"type":"content_block_stop","index":0}`,
	`{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":4}}`,
	`{"type":"message_stop"}`,
}

// sayNative sends events in Anthropic's words.
func sayNative(w http.ResponseWriter, events []string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, event := range events {
		_, _ = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", gjson.Get(event, "type").Str, event)
	}
	_ = http.NewResponseController(w).Flush()
}

// speaker is a server that speaks Anthropic's API.
func speaker(got *received) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if gjson.Get(got.take(r), "stream").Bool() {
			sayNative(w, nativeEvents)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, nativeMessage)
	}
}

// post sends a request to a path and returns the answer. fields are further header fields, each with its value.
func (g *gateway) post(path, body string, fields ...string) (status int, text string, header http.Header) {
	g.t.Helper()
	hr, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, "https://localhost"+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	hr.Header.Set("Anthropic-Version", "2023-06-01")
	hr.Header.Set("Anthropic-Beta", "some-beta")
	for i := 0; i < len(fields); i += 2 {
		hr.Header.Set(fields[i], fields[i+1])
	}
	resp, err := g.client("HTTP/1.1").Do(hr)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode, string(answer), resp.Header
}

const (
	message  = `{"model":"m", "max_tokens": 10,"thinking":{"type":"adaptive"},"messages":[{"role":"user","content":"Hello"}]}`
	streamed = `{"model":"m","stream":true,"max_tokens":10,"messages":[{"role":"user","content":"Hello"}]}`
)

func TestRequestsGoAsTheyCameToWhoSpeaksTheirAPI(t *testing.T) {
	got := new(received)
	g := newGateway(t)
	g.start(fmt.Sprintf("llm {\nprovider native openai %s {\nendpoints messages\n}\ncache memory\nmodel m {\nto native/claude {\nfirst_token_timeout 10s\n}\n}\n}", upstream(t, speaker(got))))

	for _, cached := range []string{"MISS", "HIT"} {
		status, text, header := g.post("/v1/messages", message)
		if status != http.StatusOK || text != nativeMessage || header.Get("X-Cache") != cached {
			t.Fatalf("got %d, %s: %s", status, header.Get("X-Cache"), text)
		}
	}
	path, body, header := got.get()
	if want := strings.Replace(message, `"m"`, `"claude"`, 1); path != "/v1/messages" || body != want {
		t.Errorf("got %s with %s, want %s", path, body, want)
	}
	if header.Get("Anthropic-Version") != "2023-06-01" || header.Get("Anthropic-Beta") != "some-beta" {
		t.Errorf("got header %v", header)
	}

	var want strings.Builder
	for _, event := range nativeEvents {
		fmt.Fprintf(&want, "event: %s\ndata: %s\n\n", gjson.Get(event, "type").Str, event)
	}
	for range 2 { // the second one comes from the cache
		if status, text, _ := g.post("/v1/messages", streamed); status != http.StatusOK || text != want.String() {
			t.Errorf("got %d: %s", status, text)
		}
	}
	if _, body, _ := got.get(); body != strings.Replace(streamed, `"m"`, `"claude"`, 1) {
		t.Errorf("got %s", body)
	}

	// Chat and the other API go there in chat's words.
	if status, _, _ := g.post("/v1/responses", `{"model":"m","input":"Hello"}`); status != http.StatusBadGateway { // it does not answer so
		t.Errorf("got status %d", status)
	}
	if path, body, _ := got.get(); path != "/v1/chat/completions" || gjson.Get(body, "messages.0.content").Str != "Hello" {
		t.Errorf("got %s with %s", path, body)
	}
}

func TestTheNextTargetMayNeedATranslation(t *testing.T) {
	got := new(received)
	down := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		got.take(r)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	g := newGateway(t)
	g.start(fmt.Sprintf("llm {\nprovider native openai %s {\nendpoints messages responses\n}\nprovider good openai %s\nmodel m {\nto native good\n}\nresume on\n}", down, upstream(t, good)))
	status, text, header := g.post("/v1/messages", message)
	if status != http.StatusOK || gjson.Get(text, "content.0.text").Str != goodText || header.Get("X-Llm-Provider") != "good" {
		t.Errorf("got %d by %s: %s", status, header.Get("X-Llm-Provider"), text)
	}
	if path, _, _ := got.get(); path != "/v1/messages" {
		t.Errorf("got %s", path)
	}
	status, text, _ = g.post("/v1/responses", `{"model":"m","stream":true,"input":"Hello"}`)
	if status != http.StatusOK || !strings.Contains(text, "event: response.completed\n") {
		t.Errorf("got %d: %s", status, text)
	}
	if path, _, _ := got.get(); path != "/v1/responses" {
		t.Errorf("got %s", path)
	}
}

func TestWhatChatCannotSayGoesToWhoSpeaksTheAPIOnly(t *testing.T) {
	got := new(received)
	g := newGateway(t)
	g.start(fmt.Sprintf(`llm {
		provider native openai %s {
			endpoints messages
		}
		provider good openai %s
		model m {
			to good native
		}
		model chat {
			to good
		}
	}`, upstream(t, speaker(got)), upstream(t, good)))
	file := `{"model":%q,"max_tokens":10,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"file","file_id":"f"}}]}]}`
	if status, text, _ := g.post("/v1/messages", fmt.Sprintf(file, "m")); status != http.StatusOK || text != nativeMessage {
		t.Errorf("got %d: %s", status, text)
	}
	status, text, _ := g.post("/v1/messages", fmt.Sprintf(file, "chat"))
	if status != http.StatusBadRequest || gjson.Get(text, "error.type").Str != "invalid_request_error" || !strings.Contains(text, "send the image as base64") {
		t.Errorf("got %d: %s", status, text)
	}
	search := `{"model":"chat","max_tokens":10,"tools":[{"type":"web_search_20250305","name":"web_search"},{"name":"f","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":"Hello"}]}`
	if status, text, header := g.post("/v1/messages", search); status != http.StatusOK || header.Get("X-Llm-Left-Out") != "web_search_20250305" {
		t.Errorf("got %d, left out %q: %s", status, header.Get("X-Llm-Left-Out"), text)
	}
}

// TestABrokenAnswerNeverLooksWhole breaks answers in the middle, be they native or translated.
func TestABrokenAnswerNeverLooksWhole(t *testing.T) {
	breaks := func(begin func(http.ResponseWriter)) string {
		return upstream(t, func(w http.ResponseWriter, r *http.Request) {
			wantsStream(r)
			begin(w)
			panic(http.ErrAbortHandler)
		})
	}
	reports := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		wantsStream(r)
		sayNative(w, append(nativeEvents[:4:4], `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`))
	})
	g := newGateway(t)
	g.start(fmt.Sprintf(`llm {
		provider native openai %s {
			endpoints messages
		}
		provider reports openai %s {
			endpoints messages
		}
		provider chat openai %s
		model native {
			to native
		}
		model reports {
			to reports
		}
		model chat {
			to chat
		}
		resume on
	}`, breaks(func(w http.ResponseWriter) { sayNative(w, nativeEvents[:4]) }), reports, breaks(func(w http.ResponseWriter) { say(w, "half") })))
	for _, model := range []string{"native", "reports", "chat"} {
		_, text, _ := g.post("/v1/messages", strings.Replace(streamed, `"m"`, fmt.Sprintf("%q", model), 1))
		if !strings.Contains(text, "event: content_block_delta\n") || !strings.Contains(text, "event: error\ndata: {\"type\":\"error\"") || strings.Contains(text, "message_stop") {
			t.Errorf("%s: got %s", model, text)
		}
	}
	_, text, _ := g.post("/v1/responses", `{"model":"chat","stream":true,"input":"Hello"}`)
	if !strings.Contains(text, "event: error\n") || !strings.Contains(text, "event: response.failed\n") || strings.Contains(text, "response.completed") {
		t.Errorf("got %s", text)
	}
}

func TestErrorsAreInTheWordsOfTheAPI(t *testing.T) {
	g := newGateway(t)
	g.start("llm {\nprovider e echo\nmodel m {\nto e\n}\n}")
	tests := []struct {
		name, path, body string
		status           int
		kind             string
	}{
		{"no model", "/v1/messages", strings.Replace(message, `"m"`, `"nobody"`, 1), http.StatusNotFound, "not_found_error"},
		{"no JSON", "/v1/messages", "Hello", http.StatusBadRequest, "invalid_request_error"},
		{"no messages", "/v1/messages/count_tokens", `{"model":"m"}`, http.StatusBadRequest, "invalid_request_error"},
		{"no endpoint", "/v1/messages/batches", "{}", http.StatusNotFound, "not_found_error"},
		{"no model to count for", "/v1/messages/count_tokens", strings.Replace(message, `"m"`, `"nobody"`, 1), http.StatusNotFound, "not_found_error"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, text, _ := g.post(test.path, test.body)
			if status != test.status || gjson.Get(text, "type").Str != "error" || gjson.Get(text, "error.type").Str != test.kind {
				t.Errorf("got %d: %s", status, text)
			}
		})
	}
	if status, text, _ := g.post("/v1/messages/count_tokens", message); status != http.StatusOK || gjson.Get(text, "input_tokens").Int() < 1 {
		t.Errorf("got %d: %s", status, text)
	}
	resp, err := g.client("HTTP/1.1").Get("https://localhost/v1/messages")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusMethodNotAllowed || gjson.GetBytes(text, "type").Str != "error" {
		t.Errorf("got %d: %s", resp.StatusCode, text)
	}
}

func TestMessagesAreAnsweredWithAnthropicsKeyHeader(t *testing.T) {
	t.Setenv("LLMGATEWAY_TEST_KEY", secret)
	g := newGateway(t)
	g.start("route {\nllm_auth {\nkey alice {env.LLMGATEWAY_TEST_KEY}\n}\nllm {\nprovider e echo\nmodel m {\nto e\n}\n}\n}")
	status, text, _ := g.post("/v1/messages", message, "X-Api-Key", secret)
	if status != http.StatusOK || gjson.Get(text, "type").Str != "message" {
		t.Errorf("got %d: %s", status, text)
	}
	status, text, _ = g.post("/v1/messages", message, "X-Api-Key", "another")
	if status != http.StatusUnauthorized || gjson.Get(text, "error.type").Str != "authentication_error" {
		t.Errorf("got %d: %s", status, text)
	}
	status, text, _ = g.post("/k/"+secret+"/v1/messages", message)
	if status != http.StatusOK || gjson.Get(text, "type").Str != "message" {
		t.Errorf("got %d: %s", status, text)
	}
}
