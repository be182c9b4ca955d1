package openai_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf/starter"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local/memory"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// TestMergedStreamIsTheAnswerOfTheRealServer asks llama-server for each answer twice, as a stream and not. The merged stream
// must be the answer, but for what differs between any two answers.
func TestMergedStreamIsTheAnswerOfTheRealServer(t *testing.T) {
	provider := realProvider(t)
	const tools = `"tools":[{"type":"function","function":{"name":"get_weather","description":"Says how the weather is","parameters":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}},"required":["city","days"]}}}]`
	for name, test := range map[string]struct {
		operation llmgateway.Operation
		members   string
	}{
		"text":                     {llmgateway.Chat, `"messages":[{"role":"user","content":"Hello"}]`},
		"text cut short":           {llmgateway.Chat, `"messages":[{"role":"user","content":"Count."}],"max_tokens":7`},
		"text with a stop":         {llmgateway.Chat, `"messages":[{"role":"user","content":"Count."}],"max_tokens":50,"stop":["6, "]`},
		"no text":                  {llmgateway.Chat, `"messages":[{"role":"user","content":"Count."}],"max_tokens":50,"stop":["1"]`},
		"tool call":                {llmgateway.Chat, `"messages":[{"role":"user","content":"Hello"}],` + tools},
		"tool call required":       {llmgateway.Chat, `"messages":[{"role":"user","content":"Count."}],"tool_choice":"required","max_tokens":60,` + tools},
		"tool result":              {llmgateway.Chat, `"messages":[{"role":"user","content":"Hello"},{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"get_weather","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"It says maple."}],` + tools},
		"logprobs":                 {llmgateway.Chat, `"messages":[{"role":"user","content":"The code word is maple."}],"logprobs":true,"top_logprobs":2`},
		"two answers":              {llmgateway.Chat, `"messages":[{"role":"user","content":"The code word is maple."}],"n":2`},
		"JSON":                     {llmgateway.Chat, `"messages":[{"role":"user","content":"Hello"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"boolean"}},"required":["a","b"]}}}`},
		"completion":               {llmgateway.Completion, `"prompt":"Once upon a time","max_tokens":12`},
		"completion with logprobs": {llmgateway.Completion, `"prompt":"Once upon a time","max_tokens":5,"logprobs":2`},
	} {
		t.Run(name, func(t *testing.T) {
			whole := generate(t, provider, test.operation, test.members, false)
			merged := generate(t, provider, test.operation, test.members, true)
			if got, want := comparable(t, merged.Data), comparable(t, whole.Data); !reflect.DeepEqual(got, want) {
				t.Errorf("merged %s\nwhole  %s", merged.Data, whole.Data)
			}
			if merged.FinishReason != whole.FinishReason || merged.Usage == nil || *merged.Usage != *whole.Usage {
				t.Errorf("merged %q, %+v\nwhole  %q, %+v", merged.FinishReason, merged.Usage, whole.FinishReason, whole.Usage)
			}
		})
	}
}

// generate returns the whole answer to a request with the given members. streamed says how the provider is asked.
func generate(t *testing.T, p llmgateway.Provider, op llmgateway.Operation, members string, streamed bool) llmgateway.Event {
	t.Helper()
	req, err := openai.Read(op, llmgateway.NewBody([]byte(`{"model":"starter","seed":1,"cache_prompt":false,`+members+`}`)))
	if err != nil {
		t.Fatal(err)
	}
	req.Stream = streamed
	events := p.Generate(t.Context(), req)
	if streamed {
		events = openai.Merge(events)
	}
	var answer llmgateway.Event
	for event, err := range events {
		if err != nil {
			t.Fatal(err)
		}
		answer = event
		answer.Data = bytes.Clone(event.Data)
	}
	return answer
}

// comparable decodes an answer without what differs from answer to answer, and without what llama-server says in one way only:
// it streams no content beside tool calls where it answers "" otherwise, and no probability of the end.
func comparable(t *testing.T, answer []byte) any {
	t.Helper()
	var decoded map[string]any
	if err := json.Unmarshal(answer, &decoded); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	for _, member := range []string{"id", "created", "timings"} {
		delete(decoded, member)
	}
	simplify(decoded)
	return decoded
}

// simplify does so. Of ids of tool calls it keeps whether there is one.
func simplify(value any) {
	switch value := value.(type) {
	case []any:
		for _, element := range value {
			simplify(element)
		}
	case map[string]any:
		if id, ok := value["id"].(string); ok {
			value["id"] = id != ""
		}
		if _, ok := value["tool_calls"]; ok && value["content"] == "" {
			value["content"] = nil
		}
		if probabilities, ok := value["logprobs"].(map[string]any); ok {
			if tokens, ok := probabilities["content"].([]any); ok {
				probabilities["content"] = slices.DeleteFunc(tokens, func(t any) bool { return t.(map[string]any)["token"] == "" })
			}
		}
		for _, member := range value {
			simplify(member)
		}
	}
}

// realProvider returns a provider with the real llama-server and the starter model. Only CI insists on a server.
func realProvider(t *testing.T) llmgateway.Provider {
	t.Helper()
	if testing.Short() {
		t.Skip("starts llama-server")
	}
	binary, err := local.FindServer("")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "starter.gguf")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := starter.Write(file); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	config := local.Config{Binary: binary, ModelPath: path, NCtx: 1024, NParallel: 2}
	engine := local.NewEngine(config.Key(), memory.NewBudget(local.MachineMemory()), slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = engine.Destruct() })
	return &local.Provider{Engine: engine, MaxQueue: 10}
}
