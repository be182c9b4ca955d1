package talk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// gateway answers the questions of a chat, one after the other, with what its functions write, and keeps the questions.
type gateway struct {
	*httptest.Server
	mu       sync.Mutex // guards what follows
	requests []string
	answers  []func(w http.ResponseWriter, r *http.Request)
}

func newGateway(t *testing.T, answers ...func(http.ResponseWriter, *http.Request)) *gateway {
	t.Helper()
	g := &gateway{answers: answers}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		g.mu.Lock()
		g.requests = append(g.requests, string(body))
		answer := g.answers[0]
		g.answers = g.answers[1:]
		g.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

// says answers with deltas and a finish reason.
func says(finish string, deltas ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, delta := range deltas {
			fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":%s}]}\n\n", delta)
		}
		fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":%q}]}\n\ndata: [DONE]\n\n", finish)
	}
}

func text(s string) string {
	data, _ := json.Marshal(map[string]string{"content": s})
	return string(data)
}

func (g *gateway) chat(t *testing.T, out io.Writer) *Chat {
	t.Helper()
	transport := openai.DefaultTransport()
	t.Cleanup(transport.CloseIdleConnections)
	client, err := openai.NewClient(g.URL+"/v1", "", nil, transport)
	if err != nil {
		t.Fatal(err)
	}
	return &Chat{Provider: client, Model: "m", Out: out}
}

func TestChatKeepsTheConversation(t *testing.T) {
	g := newGateway(t, says("stop", text("One"), text(" two")), says("stop", text("Three\n")), says("stop", text("Four")))
	var out strings.Builder
	c := g.chat(t, &out)
	c.System = "Be brief."
	for _, question := range []string{"first", "second"} {
		if err := c.Ask(t.Context(), question); err != nil {
			t.Fatal(err)
		}
	}
	c.Forget()
	if err := c.Ask(t.Context(), "third"); err != nil {
		t.Fatal(err)
	}
	if out.String() != "One two\nThree\nFour\n" {
		t.Errorf("got %q", out.String())
	}
	const system = `{"role":"system","content":"Be brief."},`
	want := []string{
		system + `{"role":"user","content":"first"}`,
		system + `{"role":"user","content":"first"},{"role":"assistant","content":"One two"},{"role":"user","content":"second"}`,
		system + `{"role":"user","content":"third"}`,
	}
	for i, w := range want {
		if w = `{"messages":[` + w + `],"model":"m","stream_options":{"include_usage":true},"stream":true}`; g.requests[i] != w {
			t.Errorf("got %s, want %s", g.requests[i], w)
		}
	}
}

func TestChatShowsThoughtsDimly(t *testing.T) {
	g := newGateway(t, says("stop", `{"reasoning_content":"Hm"}`, `{"reasoning_content":", yes\u001b[31m"}`, text("Yes")),
		says("stop", `{"reasoning":"Hm"}`, text("No")))
	var out strings.Builder
	c := g.chat(t, &out)
	c.Thoughts = &out
	if err := c.Ask(t.Context(), "?"); err != nil {
		t.Fatal(err)
	}
	if want := "\x1b[2mHm, yes\\x1b[31m\x1b[0m\n\nYes\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	c.Thoughts = nil
	out.Reset()
	if err := c.Ask(t.Context(), "?"); err != nil || out.String() != "No\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestModelsCannotCommandTheTerminal(t *testing.T) {
	evil := says("stop", text("\x1b]52;c;ZXZpbA==\x07"), text("\u009b2J\n\tok"))
	g := newGateway(t, evil, evil)
	var out strings.Builder
	c := g.chat(t, &out)
	c.Live = true
	if err := c.Ask(t.Context(), "?"); err != nil {
		t.Fatal(err)
	}
	if want := "\\x1b]52;c;ZXZpbA==\\x07\\u009b2J\n\tok\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	c.Live = false
	out.Reset()
	if err := c.Ask(t.Context(), "?"); err != nil || out.String() != "\x1b]52;c;ZXZpbA==\x07\u009b2J\n\tok\n" {
		t.Errorf("a file gets %q, %v", out.String(), err)
	}
}

func TestChatSaysWhatTheGatewaySays(t *testing.T) {
	status := func(code int, body string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			fmt.Fprint(w, body)
		}
	}
	const object = `{"error":{"message":"no model can answer: local: the model file is missing","type":"server_error","param":null,"code":"overloaded"}}`
	tests := []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request)
		want   string
	}{
		{"overloaded", status(503, object), "no model can answer: local: the model file is missing"},
		{"unknown model", status(404, strings.Replace(object, "no model can answer", "the model does not exist here", 1)), "the model does not exist here"},
		{"wrong request", status(400, object), "no model can answer"},
		{"no key", status(401, object), "refuses the key (HTTP 401)"},
		{"within the stream", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":%s}]}\n\ndata: %s\n\n", text("Begun"), object)
		}, "the model file is missing"},
		{"breaks off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":%s}]}\n\n", text("Begun"))
		}, "ended before the answer did"},
		{"cut", says("length", text("Begun")), "is cut"},
		{"calls a tool", says("tool_calls", `{"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":"{}"}}]}`), "calls a tool"},
		{"nothing", says("stop", text("")), "answers nothing"},
		{"a web page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "content type"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newGateway(t, tt.answer, says("stop", text("fine")))
			var out strings.Builder
			c := g.chat(t, &out)
			if err := c.Ask(t.Context(), "one"); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
			begun := strings.HasPrefix(out.String(), "Begun\n")
			if err := c.Ask(t.Context(), "two"); err != nil {
				t.Fatal(err)
			}
			// What was said stays, what was not does not.
			if kept := strings.Contains(g.requests[1], `"one"},{"role":"assistant","content":"Begun"},`); kept != begun || !kept && strings.Contains(g.requests[1], `"one"`) {
				t.Errorf("said %q, then asked %s", out.String(), g.requests[1])
			}
		})
	}
	g := newGateway(t)
	c := g.chat(t, io.Discard)
	g.Close()
	if err := c.Ask(t.Context(), "?"); err == nil || !strings.Contains(err.Error(), "make run") {
		t.Errorf("got %v", err)
	}
}

func TestChatShowsImages(t *testing.T) {
	dir := t.TempDir()
	png := filepath.Join(dir, "x.png")
	data := append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 50)...)
	if err := os.WriteFile(png, data, 0o600); err != nil {
		t.Fatal(err)
	}
	image, err := Image(png)
	if err != nil {
		t.Fatal(err)
	}
	g := newGateway(t, says("stop", text("A picture")))
	if err := g.chat(t, io.Discard).Ask(t.Context(), "what is it", image); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(g.requests[0], `"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBOR`) ||
		!strings.Contains(g.requests[0], `{"type":"text","text":"what is it"}]`) {
		t.Errorf("got %s", g.requests[0])
	}
	for _, path := range []string{"talk_test.go", dir, filepath.Join(dir, "none.png")} {
		if _, err := Image(path); err == nil {
			t.Errorf("%s is an image", path)
		}
	}
}

func TestInterruptStopsTheAnswerAndNotTheChat(t *testing.T) {
	gone := make(chan struct{})
	g := newGateway(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":%s}]}\n\n", text("One, two"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	}, says("stop", text("Fine")))
	in, type_ := io.Pipe()
	out, notes := &watched{}, &watched{}
	interrupts := make(chan os.Signal)
	ended := make(chan error)
	c := g.chat(t, out)
	go func() { ended <- c.Loop(t.Context(), in, notes, interrupts) }()

	notes.await(t, "> ")
	fmt.Fprintln(type_, "count")
	out.await(t, "One, two")
	interrupts <- os.Interrupt
	<-gone
	notes.await(t, "(stopped)\n> ")
	fmt.Fprintln(type_, `go \`)
	fmt.Fprintln(type_, "on")
	out.await(t, "One, two\nFine\n")
	notes.await(t, "(stopped)\n> . > ")
	interrupts <- os.Interrupt
	notes.await(t, "/exit ends)\n> ")
	interrupts <- os.Interrupt
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if want := `{"role":"assistant","content":"One, two"},{"role":"user","content":"go \non"}`; !strings.Contains(g.requests[1], want) {
		t.Errorf("got %s", g.requests[1])
	}
}

func TestLoopKnowsItsCommands(t *testing.T) {
	fine := says("stop", text("Fine"))
	g := newGateway(t, fine, fine, fine)
	dir := t.TempDir()
	gif := filepath.Join(dir, "x.gif")
	if err := os.WriteFile(gif, []byte("GIF89a and so on"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, notes strings.Builder
	lines := "one\n\n/help\n/odd\x1b\n/image " + dir + "/none\n/image " + gif + "\n/usr/bin is what?\n/new\nthree\n/exit\nfour\n"
	if err := g.chat(t, &out).Loop(t.Context(), strings.NewReader(lines), &notes, nil); err != nil {
		t.Fatal(err)
	}
	if len(g.requests) != 3 || !strings.Contains(g.requests[1], "data:image/gif") || !strings.Contains(g.requests[1], "/usr/bin is what?") ||
		strings.Contains(g.requests[2], "one") {
		t.Errorf("got %q", g.requests)
	}
	for _, want := range []string{"/image FILE", `/odd\x1b is unknown`, "no such file"} {
		if !strings.Contains(notes.String(), want) {
			t.Errorf("%q is missing in %q", want, notes.String())
		}
	}
	// The end of the input ends the loop, and a question without a line feed counts.
	g = newGateway(t, fine)
	if err := g.chat(t, &out).Loop(t.Context(), strings.NewReader("one"), &notes, nil); err != nil || len(g.requests) != 1 {
		t.Errorf("got %v, %q", err, g.requests)
	}
}

func TestAskEndsWithItsContext(t *testing.T) {
	g := newGateway(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := g.chat(t, io.Discard).Ask(ctx, "?"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// watched is a writer whose text can be waited for.
type watched struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

// await waits until the text ends in want.
func (w *watched) await(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		w.mu.Lock()
		got := w.b.String()
		w.mu.Unlock()
		if strings.HasSuffix(got, want) {
			return
		}
	}
	t.Fatalf("got %q, want %q at its end", w.b.String(), want)
}
