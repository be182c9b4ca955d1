// Package dialecttest compares what a translation makes of recorded requests and answers with files, for the tests of the
// packages that translate.
package dialecttest

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

var update = flag.Bool("update", false, "write the golden files")

// Requests reads each testdata/requests/NAME.json and compares the chat's body with NAME.golden.
func Requests(t *testing.T, read func(*llmgateway.Body) (*llmgateway.Request, error)) {
	t.Helper()
	each(t, "requests", ".json", func(_ string, body []byte) string {
		req, err := read(llmgateway.NewBody(body))
		if err != nil {
			e := llmgateway.AsError(err)
			return fmt.Sprintf("error: %s %s: %s\n", e.Kind, e.Param, e.Message)
		}
		var out bytes.Buffer
		if err := json.Indent(&out, req.Body.Bytes, "", "  "); err != nil {
			return "not JSON: " + err.Error() + "\n" + string(req.Body.Bytes)
		}
		out.WriteByte('\n')
		if err := sameMembers(req); err != nil {
			fmt.Fprintln(&out, err)
		}
		if req.Untranslated != nil {
			fmt.Fprintf(&out, "untranslated: %s %s: %s\n", req.Untranslated.Kind, req.Untranslated.Param, req.Untranslated.Message)
		}
		if len(req.LeftOut) > 0 {
			fmt.Fprintf(&out, "left out: %s\n", strings.Join(req.LeftOut, ", "))
		}
		return out.String()
	})
}

// sameMembers checks that a request is what reading its body would give.
func sameMembers(req *llmgateway.Request) error {
	read, err := openai.Read(req.Operation, req.Body)
	if err != nil {
		return err
	}
	if !slices.Equal(read.Members, req.Members) || read.Model != req.Model || read.Stream != req.Stream || read.Provider != req.Provider {
		return fmt.Errorf("the members are %v, and said to be %v", read.Members, req.Members)
	}
	return nil
}

// A Writer answers a request, as openai.Write does.
type Writer func(http.ResponseWriter, *llmgateway.Request, iter.Seq2[llmgateway.Event, error], *openai.Pinger, func() string) error

// Answers answers the request with each testdata/answers/NAME.jsonl, of which every line is a chunk of a chat's stream, and
// compares the events with NAME.golden, and then the whole answer. A line that is not JSON is an error.
func Answers(t *testing.T, read func(*llmgateway.Body) (*llmgateway.Request, error), write Writer, request string) {
	t.Helper()
	each(t, "answers", ".jsonl", func(name string, chunks []byte) string {
		var out strings.Builder
		for _, streamed := range []bool{true, false} {
			body := strings.Replace(request, "{", fmt.Sprintf(`{"stream":%v,`, streamed), 1)
			req, err := read(llmgateway.NewBody([]byte(body)))
			if err != nil {
				t.Fatal(err)
			}
			events := Events(chunks)
			if !streamed {
				events = openai.Merge(events)
			}
			w := httptest.NewRecorder()
			if err := write(w, req, events, nil, nil); err != nil {
				fmt.Fprintf(&out, "error: %v\n", err)
			}
			out.WriteString(w.Body.String() + "\n")
		}
		return out.String()
	})
}

// Events returns the events of a chat's stream, from their lines.
func Events(lines []byte) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		for line := range bytes.Lines(lines) {
			data := bytes.TrimSpace(line)
			if !json.Valid(data) {
				yield(llmgateway.Event{}, &llmgateway.Error{Kind: llmgateway.Upstream, Message: string(data)})
				return
			}
			if !yield(event(data), nil) {
				return
			}
		}
	}
}

// event returns the event for a chunk.
func event(data []byte) llmgateway.Event {
	var chunk struct {
		Choices []struct {
			FinishReason string `json:"finish_reason"`
		} `json:"choices"`
		Usage *struct {
			Prompt     int `json:"prompt_tokens"`
			Completion int `json:"completion_tokens"`
			Details    struct {
				Cached int `json:"cached_tokens"`
			} `json:"prompt_tokens_details"`
		} `json:"usage"`
	}
	_ = json.Unmarshal(data, &chunk) // it is valid
	e := llmgateway.Event{Data: data, Carries: true}
	if len(chunk.Choices) > 0 {
		e.FinishReason = chunk.Choices[0].FinishReason
	}
	if u := chunk.Usage; u != nil {
		e.Usage = &llmgateway.Usage{
			PromptTokens: u.Prompt, CompletionTokens: u.Completion, TotalTokens: u.Prompt + u.Completion, CachedTokens: u.Details.Cached,
		}
	}
	return e
}

// each compares what each file becomes with its golden one.
func each(t *testing.T, folder, extension string, become func(name string, content []byte) string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*"+extension))
	if err != nil || len(files) == 0 {
		t.Fatalf("got no files in testdata/%s: %v", folder, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), extension)
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := become(name, content)
			golden := strings.TrimSuffix(file, extension) + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got, which -update writes into %s:\n%s", golden, got)
			}
		})
	}
}

// FuzzRead checks that a request which is taken becomes a chat that is JSON, and that none makes the reader panic.
func FuzzRead(f *testing.F, read func(*llmgateway.Body) (*llmgateway.Request, error)) {
	seed(f, "requests", "*.json")
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := read(llmgateway.NewBody(body))
		if err != nil {
			return
		}
		if json.Valid(body) && !json.Valid(req.Body.Bytes) {
			t.Errorf("%s became %s", body, req.Body.Bytes)
		}
		if err := sameMembers(req); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	})
}

// FuzzAnswer checks that whatever chunk a server sends becomes events that are JSON.
func FuzzAnswer(f *testing.F, read func(*llmgateway.Body) (*llmgateway.Request, error), write Writer, request string) {
	seed(f, "answers", "*.jsonl")
	f.Fuzz(func(t *testing.T, chunks []byte) {
		req, err := read(llmgateway.NewBody([]byte(strings.Replace(request, "{", `{"stream":true,`, 1))))
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		_ = write(w, req, Events(chunks), nil, nil)
		for line := range strings.Lines(w.Body.String()) {
			if data, ok := strings.CutPrefix(line, "data: "); ok && !json.Valid([]byte(data)) {
				t.Errorf("%q became %s", chunks, data)
			}
		}
	})
}

func seed(f *testing.F, folder, pattern string) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, pattern))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
}
