package local

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestMistakesOfRequestsAreNoFailuresOfTheServer(t *testing.T) {
	for text, want := range map[string]llmgateway.Kind{
		"Failed to parse tools: Missing tool function: {secret": llmgateway.Unsupported,
		"Invalid base64 value": llmgateway.Unsupported,
		"[json.exception.type_error.302] type must be string, but is number":                llmgateway.Unsupported,
		"Error executing CallExpression at line 3: raise_exception('roles must alternate')": llmgateway.Unsupported,
		`"prompt" elements must be a string, a list of tokens, or such`:                     llmgateway.Unsupported,
		"[json.exception.type_error.316] invalid UTF-8 byte at index 1":                     llmgateway.Upstream,
		"Compute error.": llmgateway.Upstream,
	} {
		err := &llmgateway.Error{Kind: llmgateway.Upstream, Status: http.StatusInternalServerError, Err: errors.New(text)}
		got := llmgateway.AsError(explain(err, false))
		if got.Kind != want || strings.Contains(got.Message, "secret") || strings.Contains(got.Message, "alternate") {
			t.Errorf("%s: got %s, %q", text, got.Kind, got.Message)
		}
		if stopped := llmgateway.AsError(explain(err, true)); stopped.Kind != llmgateway.Upstream {
			t.Errorf("%s: got %s of a server that stopped", text, stopped.Kind)
		}
	}
}

// What a client writes must not look as if the model was in trouble: others would then be sent elsewhere.
func TestRealServersMindMistakesNoMoreThanOthers(t *testing.T) {
	p := &Provider{Engine: realEngine(t, nil, Config{NCtx: 512})}
	for name, members := range map[string]string{
		"a role that is none":     `"messages":[{"role":5,"content":"x"}]`,
		"no role":                 `"messages":[{"content":"x"}]`,
		"a text that is none":     `"messages":[{"role":"user","content":[{"type":"text","text":5}]}]`,
		"half a character":        `"messages":[{"role":"user","content":"\ud800"}]`,
		"half a call":             `"messages":[{"role":"user","content":"x"},{"role":"assistant","content":null,"tool_calls":[{"id":"a"}]}]`,
		"arguments that are none": `"messages":[{"role":"user","content":"x"},{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{bad"}}]}]`,
		"tools that are none":     `"messages":[{"role":"user","content":"x"}],"tools":5`,
		"a tool without a name":   `"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function"}]`,
		"another format":          `"messages":[{"role":"user","content":"x"}],"reasoning_format":"martian"`,
	} {
		_, err := generate(t.Context(), p, ask(t, llmgateway.Chat, "%s", `{"model":"m","max_tokens":1,`+members+`}`))
		if got := llmgateway.AsError(err); err == nil || got.Kind != llmgateway.Unsupported && got.Kind != llmgateway.InvalidRequest {
			t.Errorf("%s: got %v", name, err)
		}
	}
	p = &Provider{Engine: realEngine(t, nil, Config{NCtx: 512, Embeddings: "mean"})}
	for _, input := range []string{"5", "null", "[]", "{}", `[{"a":1}]`} {
		_, err := generate(t.Context(), p, ask(t, llmgateway.Embeddings, `{"model":"m","input":%s}`, input))
		if got := llmgateway.AsError(err); err == nil || got.Kind != llmgateway.Unsupported && got.Kind != llmgateway.InvalidRequest {
			t.Errorf("input %s: got %v", input, err)
		}
	}
}
