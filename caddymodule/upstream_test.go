package caddymodule

import (
	"bufio"
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
	"testing"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
)

// upstream starts a model server that does as the handler says, and returns its base URL.
func upstream(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL + "/v1"
}

// say sends a word of a stream.
func say(w http.ResponseWriter, word string) {
	sendDelta(w, fmt.Sprintf(`{"content":%q}`, word), "null")
}

// sayRole sends what a stream begins with, and what proves nothing.
func sayRole(w http.ResponseWriter) { sendDelta(w, `{"role":"assistant","content":null}`, "null") }

// sayDone ends a stream.
func sayDone(w http.ResponseWriter) {
	sendDelta(w, "{}", `"stop"`)
	_, _ = io.WriteString(w, "data: [DONE]\n\n")
}

func sendDelta(w http.ResponseWriter, delta, finish string) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = fmt.Fprintf(w, `data: {"id":"x","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":%s,"finish_reason":%s}]}`+"\n\n", delta, finish)
	_ = http.NewResponseController(w).Flush()
}

// good answers with some words at once, streamed or not.
func good(w http.ResponseWriter, r *http.Request) {
	if !wantsStream(r) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}]}`, goodText)
		return
	}
	sayRole(w)
	for word := range strings.SplitAfterSeq(goodText, " ") {
		say(w, word)
	}
	sayDone(w)
}

const goodText = "all is well here"

// wantsStream reads a request and reports whether it asks for a stream.
func wantsStream(r *http.Request) bool {
	body, _ := io.ReadAll(r.Body)
	return gjson.GetBytes(body, "stream").Bool()
}

// chat returns a request. members are further members of the JSON object.
func chat(model, prompt string, stream bool, members ...string) string {
	quoted, err := json.Marshal(prompt)
	if err != nil {
		panic(err) // strings always marshal
	}
	more := strings.Join(append(members, ""), ",")
	return fmt.Sprintf(`{"model":%q,"stream":%t,%s"messages":[{"role":"user","content":%s}]}`, model, stream, more, quoted)
}

// stream is an answer that is being read.
type stream struct {
	resp  *http.Response
	lines *bufio.Reader
	text  strings.Builder
	done  bool   // the end marker has come
	fault string // an error event, if one has come
}

// open asks for a stream. The error is the transport's.
func (g *gateway) open(ctx context.Context, client *http.Client, body string) (*stream, error) {
	resp, err := client.Do(g.request(ctx, body))
	if err != nil {
		return nil, err
	}
	return &stream{resp: resp, lines: bufio.NewReader(resp.Body)}, nil
}

// next returns the next event's data, or io.EOF.
func (s *stream) next() (string, error) {
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return "", err
		}
		data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
		if !ok {
			continue
		}
		switch {
		case data == "[DONE]":
			s.done = true
		case gjson.Get(data, "error").Exists():
			s.fault = gjson.Get(data, "error.message").Str
		default:
			s.text.WriteString(gjson.Get(data, "choices.0.delta.content").String())
		}
		return data, nil
	}
}

// word reads until some text has come.
func (s *stream) word() error {
	for before := s.text.Len(); s.text.Len() == before; {
		if _, err := s.next(); err != nil {
			return err
		}
	}
	return nil
}

// rest reads to the end, and returns the whole text. An answer that is not complete is an error.
func (s *stream) rest() (string, error) {
	defer s.resp.Body.Close()
	if s.resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(s.lines)
		return "", fmt.Errorf("%s: %s", s.resp.Status, text)
	}
	for {
		_, err := s.next()
		switch {
		case errors.Is(err, io.EOF) && s.fault != "":
			return s.text.String(), errors.New("error in the stream: " + s.fault)
		case errors.Is(err, io.EOF) && s.done:
			return s.text.String(), nil
		case err != nil:
			return s.text.String(), fmt.Errorf("broken stream: %w", err)
		}
	}
}

// answer is one that has been read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request and reads the answer.
func (g *gateway) ask(ctx context.Context, client *http.Client, body string) (answer, error) {
	resp, err := client.Do(g.request(ctx, body))
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text)}, err
}

// text is what the model said.
func (a answer) text() string { return gjson.Get(a.body, "choices.0.message.content").Str }

// message is what went wrong.
func (a answer) message() string { return gjson.Get(a.body, "error.message").Str }

// starterModel returns the path of the starter model. Without it, or without llama-server, the test is skipped, but not in CI.
func starterModel(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts llama-server")
	}
	path, err := filepath.Abs("../models/starter.gguf")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err == nil {
		_, err = local.FindServer("")
	}
	if err != nil && os.Getenv("CI") != "" {
		t.Fatal(err)
	} else if err != nil {
		t.Skip(err)
	}
	return path
}
