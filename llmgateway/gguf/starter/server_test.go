package starter

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// server is a llama-server that runs the committed model on a unix socket.
type server struct {
	http *http.Client
}

// startServer starts a llama-server and stops it when the test ends. Without one on this machine it skips the test.
func startServer(t *testing.T, args ...string) *server {
	t.Helper()
	path := findServer(t)
	dir, err := os.MkdirTemp("", "llama") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s.sock")

	var output bytes.Buffer
	cmd := exec.Command(path, append([]string{
		"--model", modelPath, "--host", socket, "--alias", "starter", "--no-webui",
		"--parallel", "4", "--ctx-size", "32768", "--threads", "1", "--cache-ram", "0", "--fit", "off",
	}, args...)...)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{}) // closed by the one goroutine that waits for the process
	go func() {
		defer close(exited)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
		if t.Failed() {
			t.Logf("llama-server printed:\n%s", output.String())
		}
	})

	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	// llama-server closes a connection after a streamed answer, without having said so: none is used twice.
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	s := &server{http: &http.Client{Transport: transport, Timeout: time.Minute}}
	s.waitUntilReady(t, exited)
	return s
}

// findServer looks where scripts/llama-server.sh looks.
func findServer(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts llama-server; not with -short")
	}
	if path := os.Getenv("LLAMA_SERVER"); path != "" {
		return path
	}
	if path, err := exec.LookPath("llama-server"); err == nil {
		return path
	}
	home, _ := os.UserHomeDir()
	cache := cmp.Or(os.Getenv("XDG_CACHE_HOME"), filepath.Join(home, ".cache"))
	built, err := filepath.Glob(filepath.Join(cache, "llmgateway", "llama.cpp", "*", "llama-server"))
	if err != nil {
		t.Fatal(err)
	}
	var newest string
	var when time.Time
	for _, path := range built {
		if stat, err := os.Stat(path); err == nil && stat.ModTime().After(when) {
			newest, when = path, stat.ModTime()
		}
	}
	if newest == "" {
		const missing = "no llama-server: scripts/llama-server.sh builds one, or set LLAMA_SERVER"
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	return newest
}

func (s *server) waitUntilReady(t *testing.T, exited <-chan struct{}) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if resp, err := s.http.Get("http://llama/health"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick.C:
		case <-exited:
			t.Fatal("llama-server ended while it was loading the model")
		case <-deadline:
			t.Fatal("llama-server was not ready after a minute")
		}
	}
}

type object = map[string]any

// answer is what a client sees of an answer, streamed or not.
type answer struct {
	text     string
	thoughts string
	calls    []call
	finish   string
	tokens   int
	chunks   int // that carried text or a call
}

type call struct{ id, name, arguments string }

type message struct {
	Content   string
	Reasoning string `json:"reasoning_content"`
	ToolCalls []struct {
		Index    int
		ID       string
		Function struct{ Name, Arguments string }
	} `json:"tool_calls"`
}

type completion struct {
	Choices []struct {
		Message, Delta message
		FinishReason   string `json:"finish_reason"`
	}
	Usage struct {
		CompletionTokens int `json:"completion_tokens"`
	}
}

// chat asks the model, and merges the chunks of a stream.
func (s *server) chat(ctx context.Context, body object) (answer, error) {
	resp, err := s.post(ctx, "/v1/chat/completions", body)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	var a answer
	if body["stream"] != true {
		err := a.add(json.NewDecoder(resp.Body))
		return a, err
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			return a, nil
		}
		if err := a.add(json.NewDecoder(strings.NewReader(data))); err != nil {
			return a, err
		}
	}
	return a, fmt.Errorf("the stream ended without [DONE]: %w", cmp.Or(lines.Err(), io.ErrUnexpectedEOF))
}

func (s *server) post(ctx context.Context, path string, body object) (*http.Response, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://llama"+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return nil, fmt.Errorf("%s: %s", resp.Status, text)
	}
	return resp, nil
}

// add merges an answer, or a chunk of one.
func (a *answer) add(from *json.Decoder) error {
	var c completion
	if err := from.Decode(&c); err != nil {
		return err
	}
	a.tokens += c.Usage.CompletionTokens
	for _, choice := range c.Choices {
		a.finish += choice.FinishReason
		for _, m := range []message{choice.Message, choice.Delta} {
			a.text += m.Content
			a.thoughts += m.Reasoning
			if m.Content != "" || len(m.ToolCalls) > 0 {
				a.chunks++
			}
			for i, tc := range m.ToolCalls {
				at := max(i, tc.Index)
				for len(a.calls) <= at {
					a.calls = append(a.calls, call{})
				}
				a.calls[at].id += tc.ID
				a.calls[at].name += tc.Function.Name
				a.calls[at].arguments += tc.Function.Arguments
			}
		}
	}
	return nil
}
