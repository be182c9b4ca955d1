package local

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf/starter"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local/memory"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// realEngine returns an engine with the real llama-server and the starter model.
func realEngine(t *testing.T, logs io.Writer, config Config) *Engine {
	t.Helper()
	noLeaks(t)
	if config.Binary == "" {
		config.Binary = realServer(t)
	}
	if config.ModelPath == "" {
		config.ModelPath = starterModel(t)
	}
	if logs == nil {
		logs = t.Output()
	}
	e := NewEngine(config.Key(), memory.NewBudget(MachineMemory()), slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	t.Cleanup(func() {
		_ = e.Destruct()
		gone(t, e)
	})
	return e
}

// realServer returns the path of llama-server. Only CI insists on one.
func realServer(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts llama-server")
	}
	binary, err := FindServer("")
	if err == nil {
		return binary
	}
	if os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	t.Skip(err)
	return ""
}

func starterModel(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "starter.gguf")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := starter.Write(file); err != nil {
		t.Fatal(err)
	}
	return path
}

// ask returns a request with one message, and with more members if there are any.
func ask(t *testing.T, op llmgateway.Operation, body string, args ...any) *llmgateway.Request {
	t.Helper()
	req, err := openai.Read(op, llmgateway.NewBody(fmt.Appendf(nil, body, args...)))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

const chatBody = `{"model":"local","stream":%t,"temperature":0,"messages":[{"role":"user","content":%q}]}`

// get reads one of llama-server's own endpoints.
func get(t *testing.T, l *Lease, path string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://llama"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := l.server.transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

func TestRealServerAnswers(t *testing.T) {
	e := realEngine(t, nil, Config{NCtx: 512, NParallel: 3})
	p := &Provider{Engine: e, MaxQueue: 100}
	began := time.Now()
	lease := acquire(t, e)
	t.Logf("loaded in %v", time.Since(began))

	var slots []struct {
		NCtx int `json:"n_ctx"`
	}
	get(t, lease, "/slots", &slots)
	if len(slots) != 3 || slots[0].NCtx != 512 {
		t.Errorf("slots: got %+v, want three of 512 tokens", slots)
	}
	var props struct {
		Alias string `json:"model_alias"`
		UI    bool   `json:"ui"`
	}
	get(t, lease, "/props", &props)
	if props.Alias != "starter" || props.UI {
		t.Errorf("got %+v, want starter without a web page", props)
	}
	if got, want := p.ModelInfo(), (llmgateway.ModelInfo{Name: "starter", Context: 512, Tools: true, Prefill: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}

	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			said, err := generate(t.Context(), p, ask(t, llmgateway.Chat, chatBody, i%2 == 0, "hello"))
			if err != nil || !strings.Contains(said, `"model":"starter"`) || strings.Contains(said, "/tmp") {
				t.Errorf("got %q, %v", said, err)
			}
		})
	}
	wg.Wait()

	_, err := generate(t.Context(), p, ask(t, llmgateway.Chat, chatBody, true, strings.Repeat("hello ", 2000)))
	if got := llmgateway.AsError(err); err == nil || got.Kind != llmgateway.ContextLength {
		t.Errorf("too long: got %v, want ContextLength", err)
	}
	image := `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]}`
	_, err = generate(t.Context(), p, ask(t, llmgateway.Chat, "%s", image))
	if got := llmgateway.AsError(err); err == nil || got.Kind != llmgateway.Unsupported {
		t.Errorf("an image: got %v, want that it is not supported", err)
	}
}

func TestRealServerIsRestartedAfterKill(t *testing.T) {
	e := realEngine(t, nil, Config{NCtx: 512})
	p := &Provider{Engine: e}
	if _, err := generate(t.Context(), p, ask(t, llmgateway.Chat, chatBody, true, "hello")); err != nil {
		t.Fatal(err)
	}
	kill(t, e)
	began := time.Now()
	if _, err := generate(t.Context(), p, ask(t, llmgateway.Chat, chatBody, true, "hello")); err != nil {
		t.Fatal(err)
	}
	t.Logf("answered again %v after kill -9", time.Since(began))
}

func TestRealServerDiesWithTheGateway(t *testing.T) {
	g := startGateway(t, realServer(t), starterModel(t))
	began := time.Now()
	_ = g.Process.Kill()
	eventually(t, "the server's end", func() bool { return !alive(g.child) })
	t.Logf("ended %v after the gateway was killed", time.Since(began))
	removeStale(os.Getenv("XDG_RUNTIME_DIR"))
}

func TestRealServerStopsGeneratingWhenNobodyListens(t *testing.T) {
	e := realEngine(t, nil, Config{NCtx: 32768})
	p := &Provider{Engine: e}
	lease := acquire(t, e)
	for event, err := range p.Generate(t.Context(), ask(t, llmgateway.Chat, chatBody, true, "count")) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Carries {
			break
		}
	}
	began := time.Now()
	eventually(t, "a free slot", func() bool {
		var slots []struct {
			Busy bool `json:"is_processing"`
		}
		get(t, lease, "/slots", &slots)
		return !slots[0].Busy
	})
	t.Logf("the slot is free after %v", time.Since(began))
}

// TestRealServerDrains lets go of an engine in the middle of an answer, as a reload does.
func TestRealServerDrains(t *testing.T) {
	e := realEngine(t, nil, Config{NCtx: 512})
	p := &Provider{Engine: e}
	destruct := sync.OnceValue(e.Destruct)
	var events int
	var finish string
	for event, err := range p.Generate(t.Context(), ask(t, llmgateway.Chat, chatBody, true, "count")) {
		if err != nil {
			t.Fatal(err)
		}
		_ = destruct()
		events++
		finish += event.FinishReason
	}
	if finish != "length" {
		t.Errorf("got %d events, finish reason %q, want length", events, finish)
	}
	began := time.Now()
	gone(t, e)
	t.Logf("%d events; gone after %v", events, time.Since(began))
	e.shared = NewShared(func() {}) // for the cleanup
}

func TestRealServerEmbedsAndChats(t *testing.T) {
	e := realEngine(t, nil, Config{NCtx: 1024, Embeddings: "mean"})
	p := &Provider{Engine: e}
	said, err := generate(t.Context(), p, ask(t, llmgateway.Embeddings, `{"model":"m","input":%q}`, strings.Repeat("hello ", 100)))
	if err != nil || !strings.Contains(said, `"embedding":[`) {
		t.Errorf("got %.100q, %v", said, err)
	}
	if _, err := generate(t.Context(), p, ask(t, llmgateway.Chat, chatBody, true, "hello")); err != nil {
		t.Error(err)
	}
}

func TestRealServerSaysWhyItCannotLoad(t *testing.T) {
	var logs lockedBuffer
	e := realEngine(t, &logs, Config{ModelPath: modelFile(t)})
	e.timing.backoff = time.Millisecond
	_, err := e.Acquire(t.Context())
	wantOverloaded(t, err, "stopped while loading (exit status 1)")
	if got := e.Status(); got.State != llmgateway.StateFailed {
		t.Errorf("got %+v, want failed", got)
	}
	if !strings.Contains(logs.String(), "failed to load model") {
		t.Errorf("the log does not say why: %s", logs.String())
	}
}

// TestRealServerLogsNoPrompts also sends what llama-server quotes in its own log.
func TestRealServerLogsNoPrompts(t *testing.T) {
	var logs lockedBuffer
	e := realEngine(t, &logs, Config{NCtx: 512})
	p := &Provider{Engine: e}
	if _, err := generate(t.Context(), p, ask(t, llmgateway.Chat, chatBody, true, "hello XYZZY")); err != nil {
		t.Fatal(err)
	}
	lease := acquire(t, e)
	for _, body := range []string{
		`{"messages":[{"role":"user","content":"XYZZY`,
		`{"messages":[{"role":"XYZZY","content":[{"type":"XYZZY"}]}]}`,
		`{"messages":[{"role":"user","content":"a"}],"tools":"XYZZY"}`,
		`{"messages":[{"role":"user","content":"a"}],"grammar":"XYZZY ::= XYZZY2"}`,
		`{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_schema","json_schema":{"schema":{"$ref":"#/XYZZY"}}}}`,
		`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://XYZZY"}}]}]}`,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://llama/v1/chat/completions", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := lease.server.transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		t.Logf("%d %s", resp.StatusCode, answer)
	}
	t.Log(logs.String())
	if strings.Contains(logs.String(), "XYZZY") {
		t.Error("a prompt is in the log")
	}
	if !strings.Contains(logs.String(), "got exception") {
		t.Error("the exceptions are not in the log")
	}
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
