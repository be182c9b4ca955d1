package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// An agent that asks by Anthropic's or OpenAI's own API is told usages of the window that it takes those models to have, and gets
// white space while it waits.
func TestAgentsOfOtherAPIsAreToldTheirWindowAndKeptWaiting(t *testing.T) {
	const schema = `{"type":"object","properties":{"status":{"type":"string"},"description":{"type":"string"}}}`
	messages := `{"model":%q,"max_tokens":100,"messages":[{"role":"user","content":"Hello"}],"tools":[{"name":"set_task_status","input_schema":` + schema + `}]}`
	responses := `{"model":%q,"store":false,"input":[{"role":"user","content":"Hello"}],"tools":[{"type":"function","name":"set_task_status","parameters":` + schema + `}]}`
	hold := make(chan struct{})
	model := func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"message":`+calls(0, script[len(script)-1])+`,"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":11000,"completion_tokens":1000,"total_tokens":12000}}`)
	}
	g := newGateway(t)
	g.start(fmt.Sprintf("llm {\nprovider p openai %s\nmodel claude-* gpt-* o3 {\nto p {\ncontext 16000\n}\n}\nclient bytebot {\npadding 20ms 20ms\n}\n}", upstream(t, model)))
	for _, tt := range []struct {
		path, body, model string
		total             int64 // at three quarters of the real window
	}{
		{"/v1/messages", messages, "claude-sonnet-4-20250514", 150000},
		{"/v1/responses", responses, "o3", 150000},
		{"/v1/responses", responses, "gpt-4.1-2025-04-14", 785683},
	} {
		t.Run(tt.model, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://localhost"+tt.path, strings.NewReader(fmt.Sprintf(tt.body, tt.model)))
			if err != nil {
				t.Fatal(err)
			}
			client := g.client("HTTP/1.1")
			client.Timeout = time.Minute
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			space := make([]byte, 2)
			if _, err := io.ReadFull(resp.Body, space); err != nil || strings.TrimSpace(string(space)) != "" {
				t.Fatalf("got %q before the answer, %v", space, err)
			}
			hold <- struct{}{}
			rest, err := io.ReadAll(resp.Body)
			if err != nil || !gjson.ValidBytes(rest) {
				t.Fatalf("%v in %s", err, rest)
			}
			usage := gjson.GetBytes(rest, "usage")
			if got := usage.Get("input_tokens").Int() + usage.Get("output_tokens").Int(); got != tt.total {
				t.Errorf("told %d tokens, want %d: %s", got, tt.total, rest)
			}
		})
	}
}
