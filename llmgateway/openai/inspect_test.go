package openai

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// chunks are events of streams as servers send them, and what they prove.
var chunks = []struct {
	name    string
	chunk   string
	carries bool
	finish  string
}{
	{"role alone", `{"choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}`, false, ""},
	{"role and empty values", `{"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null,"tool_calls":[],"annotations":[ ],"audio":{ }}}]}`, false, ""},
	{"llama-server's first", `{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1,"model":"m","object":"chat.completion.chunk"}`, false, ""},
	{"Azure's first", `{"choices":[],"prompt_filter_results":[{"prompt_index":0}]}`, false, ""},
	{"usage alone", `{"choices":[],"usage":{"prompt_tokens":1}}`, false, ""},
	{"empty delta", `{"choices":[{"index":0,"delta":{}}]}`, false, ""},
	{"no delta", `{"choices":[{"index":0}]}`, false, ""},
	{"null delta", `{"choices":[{"index":0,"delta":null}]}`, false, ""},
	{"null choices", `{"choices":null}`, false, ""},
	{"no choices", `{"id":"x"}`, false, ""},
	{"empty text", `{"choices":[{"index":0,"text":""}]}`, false, ""},
	{"content", `{"choices":[{"index":0,"delta":{"content":" "}}]}`, true, ""},
	{"content and role", `{"choices":[{"index":0,"delta":{"content":"a","role":"assistant"}}]}`, true, ""},
	{"text", `{"choices":[{"text":"a","index":0,"logprobs":null,"finish_reason":null}]}`, true, ""},
	{"reasoning_content", `{"choices":[{"delta":{"role":"assistant","content":null,"reasoning_content":"h"}}]}`, true, ""},
	{"reasoning", `{"choices":[{"delta":{"content":"","reasoning":"h"}}]}`, true, ""},
	{"reasoning_details", `{"choices":[{"delta":{"reasoning_details":[{"type":"reasoning.text","text":"h"}]}}]}`, true, ""},
	{"refusal", `{"choices":[{"delta":{"refusal":"No"}}]}`, true, ""},
	{"tool call", `{"choices":[{"delta":{"content":null,"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":""}}]}}]}`, true, ""},
	{"function call", `{"choices":[{"delta":{"function_call":{"name":"f","arguments":""}}}]}`, true, ""},
	{"audio", `{"choices":[{"delta":{"audio":{"id":"a"}}}]}`, true, ""},
	{"the second choice", `{"choices":[{"index":0,"delta":{}},{"index":1,"delta":{"content":"a"}}]}`, true, ""},
	{"finish", `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`, true, "stop"},
	{"finish, spaced", `{"choices" : [ { "delta" : { } , "finish_reason" : "length" } ] }`, true, "length"},
	{"finish first", `{"choices":[{"finish_reason":"tool_calls","delta":{}}]}`, true, "tool_calls"},
	{"another reason", `{"choices":[{"delta":{},"finish_reason":"content_filter"}]}`, true, "content_filter"},
	{"finish of the second choice", `{"choices":[{"finish_reason":null},{"finish_reason":"stop"}]}`, true, "stop"},
	{"an empty reason", `{"choices":[{"delta":{},"finish_reason":""}]}`, false, ""},
	{"an empty reason first", `{"choices":[{"delta":{},"finish_reason":""},{"finish_reason":"stop"}]}`, true, "stop"},
	{"the words in content", `{"choices":[{"delta":{"content":"\"finish_reason\":\"stop\""},"finish_reason":null}]}`, true, ""},
	{"the words as a value", `{"choices":[{"delta":{"content":"finish_reason"},"x":"finish_reason","finish_reason":null}]}`, true, ""},
	{"the words outside of choices", `{"finish_reason":"stop","choices":[{"delta":{}}]}`, false, ""},
	{"an error that is null", `{"error":null,"choices":[{"delta":{"content":"a"}}]}`, true, ""},
}

func TestInspectorKnowsWhatAChunkProves(t *testing.T) {
	for _, test := range chunks {
		t.Run(test.name, func(t *testing.T) {
			in := newInspector(llmgateway.Chat)
			event, err := in.inspect([]byte(test.chunk), false)
			if err != nil {
				t.Fatal(err)
			}
			if event.Carries != test.carries || event.FinishReason != test.finish || event.Whole || string(event.Data) != test.chunk {
				t.Errorf("got %+v; want carries %t, finish %q", event, test.carries, test.finish)
			}
		})
	}
}

func TestInspectorTakesAllEventsAfterTheFirstThatCarries(t *testing.T) {
	in := newInspector(llmgateway.Chat)
	for i, chunk := range []string{
		`{"choices":[{"delta":{"role":"assistant"}}]}`,
		`{"choices":[{"delta":{"content":"a"}}]}`,
		`{"choices":[{"delta":{}}]}`,
		`{"choices":[],"usage":{}}`,
	} {
		event, err := in.inspect([]byte(chunk), false)
		if want := i > 0; err != nil || event.Carries != want {
			t.Errorf("event %d: got %t, %v; want %t", i, event.Carries, err, want)
		}
	}
}

func TestInspectorTellsEmptyEventsApart(t *testing.T) {
	in := newInspector(llmgateway.Chat)
	for _, test := range []struct {
		chunk string
		want  bool
	}{
		{`{"choices":[{"delta":{"role":"assistant","content":""}}]}`, true},
		{`{"choices":[{"delta":{"content":"a"}}]}`, false},
		{`{"choices":[{"delta":{"content":"b"}}]}`, false},
		{`{"choices":[{"delta":{"content":""}}]}`, true},
		{`{"choices":[{"delta":{}}]}`, true},
		{`{"choices":[]}`, true},
		{`{"choices":[{"delta":{"content":"c"}}]}`, false},
		{`{"choices":[{"delta":{},"finish_reason":"stop"}]}`, false},
	} {
		event, err := in.inspect([]byte(test.chunk), false)
		if err != nil || event.Empty != test.want {
			t.Errorf("%s: got %t, %v; want %t", test.chunk, event.Empty, err, test.want)
		}
	}
}

func TestAnswersThatSayNothing(t *testing.T) {
	for _, test := range []struct {
		answer string
		whole  bool
		want   bool
	}{
		{`{"choices":[{"message":{"role":"assistant","content":""},"finish_reason":"stop"}]}`, true, true},
		{`{"choices":[{"message":{"role":"assistant","content":null,"tool_calls":[],"refusal":null},"finish_reason":"stop"}]}`, true, true},
		{`{"choices":[{"text":"","finish_reason":"stop"}]}`, true, true},
		{`{"choices":[{"text":"a","finish_reason":"stop"}]}`, true, false},
		{`{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}`, true, false},
		{`{"choices":[{"message":{"content":"","reasoning_content":"a"},"finish_reason":"stop"}]}`, true, false},
		{`{"choices":[{"message":{"content":null,"tool_calls":[{"id":"c"}]},"finish_reason":"stop"}]}`, true, false},
		{`{"choices":[{"message":{"content":""},"finish_reason":"stop"},{"message":{"content":"a"},"finish_reason":"stop"}]}`, true, false},
		{`{"choices":[{"message":{"content":""},"finish_reason":"length"}]}`, true, false},
		{`{"choices":[{"message":{"content":""},"finish_reason":"content_filter"}]}`, true, false},
		{`{"choices":[{"delta":{},"finish_reason":"stop"}]}`, false, true},
		{`{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}`, false, false},
		{`{"choices":[{"delta":{},"finish_reason":"length"}]}`, false, false},
	} {
		event, err := newInspector(llmgateway.Chat).inspect([]byte(test.answer), test.whole)
		if err != nil {
			t.Fatal(err)
		}
		if got := SaysNothing(event); got != test.want {
			t.Errorf("%s: got %t", test.answer, got)
		}
	}
}

func TestInspectorReadsUsage(t *testing.T) {
	tests := []struct {
		usage string
		want  *llmgateway.Usage
	}{
		{`{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":3,"audio_tokens":0}}`, &llmgateway.Usage{PromptTokens: 5, CompletionTokens: 7, TotalTokens: 12, CachedTokens: 3}},
		{`{"prompt_tokens":5,"total_tokens":5}`, &llmgateway.Usage{PromptTokens: 5, TotalTokens: 5}},
		{`{"prompt_tokens":5,"prompt_tokens_details":null}`, &llmgateway.Usage{PromptTokens: 5}},
		{`{"completion_tokens":9,"completion_tokens_details":{"reasoning_tokens":4}}`, &llmgateway.Usage{CompletionTokens: 9, ReasoningTokens: 4}},
		{`{"cost":null}`, &llmgateway.Usage{}},
		{`{"cost":"0.1"}`, &llmgateway.Usage{}},
		{`{}`, &llmgateway.Usage{}},
		{`null`, nil},
	}
	for _, test := range tests {
		in := newInspector(llmgateway.Chat)
		event, err := in.inspect([]byte(`{"choices":[{"message":{}}],"usage":`+test.usage+`}`), true)
		if err != nil {
			t.Fatal(err)
		}
		if got := event.Usage; got == nil != (test.want == nil) || got != nil && *got != *test.want {
			t.Errorf("%s: got %+v, want %+v", test.usage, got, test.want)
		}
	}
}

func TestInspectorWantsAnAnswerInAnAnswer(t *testing.T) {
	tests := []struct {
		operation llmgateway.Operation
		answer    string
		want      bool
	}{
		{llmgateway.Chat, `{"choices":[{"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}]}`, true},
		{llmgateway.Chat, `{"choices":[ {"message":{}} ]}`, true},
		{llmgateway.Chat, `{"choices":[ {} ]}`, true},
		{llmgateway.Chat, `{"object":"error","choices":[{"message":{"content":"a"}}]}`, false},
		{llmgateway.Chat, `{"choices":[{"message":{"content":"a"},"finish_reason":"error"}]}`, false},
		{llmgateway.Completion, `{"choices":[{"text":""}]}`, true},
		{llmgateway.Embeddings, `{"data":[{"embedding":[1]}]}`, true},
		{llmgateway.Chat, `{}`, false},
		{llmgateway.Chat, `{"choices":[]}`, false},
		{llmgateway.Chat, `{"choices":[ ]}`, false},
		{llmgateway.Chat, `{"choices":null}`, false},
		{llmgateway.Chat, `{"choices":"none"}`, false},
		{llmgateway.Chat, `{"data":[{}]}`, false},
		{llmgateway.Embeddings, `{"data":[]}`, false},
		{llmgateway.Embeddings, `{"data":null}`, false},
		{llmgateway.Embeddings, `{"object":"list"}`, false},
		{llmgateway.Chat, `{"choices":[{}]`, false},
		{llmgateway.Chat, `[]`, false},
		{llmgateway.Chat, ``, false},
		{llmgateway.Chat, `<html>`, false},
	}
	for _, test := range tests {
		in := newInspector(test.operation)
		event, err := in.inspect([]byte(test.answer), true)
		if got := err == nil; got != test.want {
			t.Errorf("%s: %s: got %t (%v), want %t", test.operation, test.answer, got, err, test.want)
		}
		if err == nil && (!event.Carries || !event.Whole) {
			t.Errorf("%s: got %+v, want a whole answer", test.answer, event)
		}
		if err != nil && llmgateway.AsError(err).Kind != llmgateway.Upstream {
			t.Errorf("%s: got %v, want upstream", test.answer, llmgateway.AsError(err).Kind)
		}
	}
}

// FuzzInspect compares what is read from chunks with a reading that decodes them.
func FuzzInspect(f *testing.F) {
	for _, test := range chunks {
		f.Add([]byte(test.chunk))
	}
	for _, body := range oddRequests {
		f.Add([]byte(`{"choices":[` + body + `]}`))
	}
	f.Fuzz(func(t *testing.T, chunk []byte) {
		in := newInspector(llmgateway.Chat)
		event, err := in.inspect(chunk, false)
		_, _ = in.inspect(chunk, true)
		if !json.Valid(chunk) || !utf8.Valid(chunk) || !isObjectButForStrings(chunk) {
			return
		}
		var want struct {
			failed, carries bool
			finish          string
		}
		for _, m := range decodeNode(t, chunk).members {
			switch m.name {
			case "error":
				want.failed = want.failed || m.raw[0] == '{' || m.raw[0] == '"'
			case "choices":
				want.finish = cmp.Or(want.finish, firstFinishReason(m))
				want.carries = want.carries || want.finish != "" || slices.ContainsFunc(m.members, carriesSomething)
			}
		}
		if want.failed != (err != nil) {
			t.Fatalf("%s: got %v, want an error: %t", chunk, err, want.failed)
		}
		if err != nil {
			return
		}
		// Names are found by their bytes; nobody writes this one with escapes.
		if bytes.IndexByte(chunk, '\\') < 0 && (event.FinishReason != want.finish || event.Carries != want.carries) {
			t.Errorf("%s: got %q, %t; want %q, %t", chunk, event.FinishReason, event.Carries, want.finish, want.carries)
		}
	})
}

// node is a JSON value with its name. Members keep their order and may repeat; a list's have no names.
type node struct {
	name, raw string
	members   []node
}

func decodeNode(t *testing.T, raw []byte) node {
	t.Helper()
	n := node{raw: string(raw)}
	switch raw[0] {
	case '{':
		for _, m := range decodeMembers(t, raw) {
			child := decodeNode(t, []byte(m.raw))
			child.name = m.name
			n.members = append(n.members, child)
		}
	case '[':
		var elements []json.RawMessage
		if err := json.Unmarshal(raw, &elements); err != nil {
			t.Fatal(err)
		}
		for _, element := range elements {
			n.members = append(n.members, decodeNode(t, element))
		}
	default:
		if trimmed := bytes.TrimSpace(raw); len(trimmed) < len(raw) {
			return decodeNode(t, trimmed)
		}
	}
	return n
}

func (n node) member(name string) (node, bool) {
	i := slices.IndexFunc(n.members, func(m node) bool { return m.name == name })
	if i < 0 || n.raw[0] != '{' {
		return node{}, false
	}
	return n.members[i], true
}

func (n node) empty() bool {
	switch n.raw[0] {
	case '{', '[':
		return len(n.members) == 0
	default:
		return n.raw == "null" || n.raw == `""`
	}
}

func firstFinishReason(n node) string {
	for _, m := range n.members {
		if m.name == "finish_reason" && m.raw[0] == '"' && n.raw[0] == '{' && m.raw != `""` {
			return strings.Trim(m.raw, `"`)
		}
		if reason := firstFinishReason(m); reason != "" {
			return reason
		}
	}
	return ""
}

func carriesSomething(choice node) bool {
	if text, ok := choice.member("text"); ok && text.raw != "null" && text.raw != `""` {
		return true
	}
	delta, ok := choice.member("delta")
	if !ok {
		return false
	}
	if delta.raw[0] != '{' && delta.raw[0] != '[' {
		return !delta.empty()
	}
	return slices.ContainsFunc(delta.members, func(m node) bool { return m.name != "role" && !m.empty() })
}

// newInspector returns an inspector of a client without keys.
func newInspector(op llmgateway.Operation) *inspector {
	return &inspector{operation: op, redact: (&Client{}).redact}
}

func TestInspectorReadsWhatTheProviderSaysItCost(t *testing.T) {
	for usage, want := range map[string]float64{
		`{"prompt_tokens":5,"cost":0.00014}`:                                         0.00014,
		`{"prompt_tokens":5,"cost":0}`:                                               0,
		`{"cost":0.25,"is_byok":false,"cost_details":{"upstream_inference_cost":1}}`: 0.25,
		`{"cost":0.25,"is_byok":true,"cost_details":{"upstream_inference_cost":1}}`:  1.25,
		`{"cost":0.25,"is_byok":true,"cost_details":null}`:                           0.25,
	} {
		in := newInspector(llmgateway.Chat)
		event, err := in.inspect([]byte(`{"choices":[{"message":{}}],"usage":`+usage+`}`), true)
		if err != nil {
			t.Fatal(err)
		}
		if event.Usage.Cost == nil || *event.Usage.Cost != want {
			t.Errorf("%s: got %v, want %v", usage, event.Usage.Cost, want)
		}
	}
}

// llama.cpp tells its timings with every finish reason, and the usage only to who asks for it.
func TestTimingsAreAUsage(t *testing.T) {
	in := inspector{operation: llmgateway.Chat}
	for i, test := range []struct {
		chunk string
		want  *llmgateway.Usage
	}{
		{`{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}],"timings":{"prompt_n":7}}`, nil},
		{
			`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"timings":{"cache_n":3,"prompt_n":2,"predicted_n":10}}`,
			&llmgateway.Usage{PromptTokens: 5, CompletionTokens: 10, TotalTokens: 15, CachedTokens: 3},
		},
		{
			`{"timings":{"cache_n":4,"prompt_n":1,"predicted_n":1},"choices":[{"index":1,"delta":{},"finish_reason":"length"}]}`,
			&llmgateway.Usage{PromptTokens: 5, CompletionTokens: 11, TotalTokens: 16, CachedTokens: 4},
		},
		{
			`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"timings":{"predicted_n":1},"usage":{"total_tokens":9}}`,
			&llmgateway.Usage{TotalTokens: 9},
		},
	} {
		event, err := in.inspect([]byte(test.chunk), false)
		if err != nil || (event.Usage == nil) != (test.want == nil) || test.want != nil && *event.Usage != *test.want {
			t.Errorf("chunk %d: got %+v, %v, want %+v", i, event.Usage, err, test.want)
		}
	}
}
