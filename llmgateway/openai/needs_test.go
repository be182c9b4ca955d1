package openai

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func readFor(t testing.TB, op llmgateway.Operation, body string) *llmgateway.Request {
	t.Helper()
	r, err := Read(op, llmgateway.NewBody([]byte(body)))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return r
}

func TestNeedsAreFoundWhereverTheyStand(t *testing.T) {
	const tool = `{"type":"function","function":{"name":"f"}}`
	for _, test := range []struct{ name, members, want string }{
		{"text", `"messages":[{"role":"user","content":"image_url"}]`, ""},
		{"text parts", `"messages":[{"role":"user","content":[{"type":"text","text":"\"type\":\"image_url\""}]}]`, ""},
		{"no messages", `"temperature":1`, ""},
		{"messages that are none", `"messages":"image_url"`, ""},
		{"odd messages", `"messages":[1,"a",null,[],{},{"content":null},{"content":7},{"content":[1,[],{}]}]`, ""},
		{"image", `"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]}]`, "vision"},
		{"image in a later message", `"messages":[{"role":"user","content":"a"},{"content":[{"image_url":{"url":"https://a/b.png"}}],"role":"user"}]`, "vision"},
		{"image in a tool's message", `"messages":[{"role":"tool","tool_call_id":"c","content":[ { "type" : "image_url" , "image_url":{"url":"data:,"}} ] } ]`, "vision"},
		{"input_image", `"messages":[{"role":"user","content":[{"type":"input_image","image_url":"data:,"}]}]`, "vision"},
		{"Anthropic's image", `"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","data":"AA=="}}]}]`, "vision"},
		{"sound", `"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}]}]`, "audio"},
		{"tools", `"tools":[` + tool + `]`, "tools"},
		{"tools behind the messages", `"messages":[],"tools":[` + tool + `],"tool_choice":"auto"`, "tools"},
		{"functions", `"functions":[{"name":"f"}]`, "tools"},
		{"no tools", `"tools":[ ],"functions":null`, ""},
		{"tools that may not be called", `"tools":[` + tool + `],"tool_choice":"none"`, ""},
		{"a tool that must be called", `"tools":[` + tool + `],"tool_choice":{"type":"function","function":{"name":"f"}}`, "tools"},
		{"functions that may not be called", `"functions":[{"name":"f"}],"function_call":"none"`, ""},
		{"schema", `"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object"}}}`, "json"},
		{"JSON without a schema", `"response_format":{"type":"json_object"}`, ""},
		{"text format", `"response_format":{"type":"text","x":{"type":"json_schema"}}`, ""},
		{"all", `"tools":[` + tool + `],"response_format":{"type":"json_schema"},"messages":[{"content":[{"type":"input_audio"},{"type":"image_url"}]}]`, "vision audio tools json"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := readFor(t, llmgateway.Chat, `{"model":"m",`+test.members+`}`)
			if got := strings.Join(Needs(r).Words(), " "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	if got := Needs(readFor(t, llmgateway.Embeddings, `{"model":"m","input":"a"}`)); got != llmgateway.CanEmbed {
		t.Errorf("embeddings need %s", got)
	}
}

func TestMinTokensCountsWhatCertainlyIsRead(t *testing.T) {
	words := strings.Repeat("word ", 1000)
	quoted, err := json.Marshal(strings.Repeat("a word\n\t", 500))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		op   llmgateway.Operation
		body string
		want int
	}{
		{"words", llmgateway.Chat, `"messages":[{"role":"user","content":"` + words + `"}]`, 500},
		{"escaped spaces", llmgateway.Chat, `"messages":[{"role":"user","content":` + string(quoted) + `}]`, 500},
		{"parts, and several messages", llmgateway.Chat, `"messages":[{"role":"system","content":"` + words + `"},{"content":[{"type":"text","text":"` + words + `"}],"role":"tool"}]`, 1000},
		{"an assistant's words", llmgateway.Chat, `"messages":[{"content":"` + words + `","role":"assistant"},{"role":"user","content":"` + words + `"},{"role":"assistant","content":"` + words + `"}]`, 500},
		{"images", llmgateway.Chat, `"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + strings.Repeat("A A ", 10000) + `"}}]}]`, 0},
		{"no words", llmgateway.Chat, `"messages":[{"role":"user","content":"` + strings.Repeat("=", 25600) + `"}]`, 100},
		{"signs between spaces", llmgateway.Chat, `"messages":[{"role":"user","content":"` + strings.Repeat("| ", 1280) + `"}]`, 10},
		{"escapes are not bytes", llmgateway.Chat, `"messages":[{"role":"user","content":"` + strings.Repeat(`\"`, 25600) + `"}]`, 100},
		{"one that is to be cut", llmgateway.Chat, `"truncate_prompt_tokens":5,"messages":[{"role":"user","content":"` + words + `"}]`, 0},
		{"OpenRouter's middle-out", llmgateway.Chat, `"transforms":["middle-out"],"messages":[{"role":"user","content":"` + words + `"}]`, 0},
		{"prompt", llmgateway.Completion, `"prompt":"` + words + `"`, 500},
		{"the longest of several prompts", llmgateway.Completion, `"prompt":["a b","` + words + `","c"]`, 500},
		{"tokens", llmgateway.Completion, `"prompt":[1, 2,3]`, 3},
		{"lists of tokens", llmgateway.Completion, `"prompt":[[1],[1,2,3,4],"a b"]`, 4},
		{"nested lists", llmgateway.Completion, `"prompt":` + strings.Repeat("[", 400) + strings.Repeat("]", 400), 1},
		{"no prompt", llmgateway.Completion, `"prompt":null`, 0},
		{"embeddings", llmgateway.Embeddings, `"input":"` + words + `"`, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := `{"model":"m",` + test.body + `}`
			if got := MinTokens(readFor(t, test.op, body)); got != test.want || got > MaxMinTokens(len(body)) {
				t.Errorf("got %d, want %d; at most %d", got, test.want, MaxMinTokens(len(body)))
			}
		})
	}
}

// FuzzNeeds has any body that Read takes: no walk may leave it, and no count exceed its bound.
func FuzzNeeds(f *testing.F) {
	f.Add(`{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,"}},{"type":"text","text":"a\n b"}]}],"tools":[{}]}`)
	f.Add(`{"model":"m","prompt":[[1,2],"a \\ b",[]],"response_format":{"type":"json_schema"}}`)
	f.Add(`{"model":"m","messages":[{},[],null,{"content":{}}],"prompt":{"a":[1]},"input":[]}`)
	f.Fuzz(func(t *testing.T, body string) {
		for _, op := range []llmgateway.Operation{llmgateway.Chat, llmgateway.Completion, llmgateway.Embeddings} {
			r, err := Read(op, llmgateway.NewBody([]byte(body)))
			if err != nil {
				return
			}
			needs := Needs(r)
			if n := MinTokens(r); n > MaxMinTokens(len(body)) {
				t.Errorf("%d tokens in %d bytes", n, len(body))
			}
			if needs&llmgateway.CanSee != 0 && !strings.Contains(body, "image") {
				t.Error("an image was seen where there is none")
			}
		}
	})
}

func BenchmarkNeeds(b *testing.B) {
	image := strings.Repeat("iVBORw0KGgoAAAANSUhEUgAA", 1<<20/24)
	for name, content := range map[string]string{
		"small":      `"Hello, how are you?"`,
		"32 MB":      fmt.Sprintf(`[{"type":"text","text":"look"}%s]`, strings.Repeat(`,{"type":"image_url","image_url":{"url":"data:image/png;base64,`+image+`"}}`, 32)),
		"1 MB, text": `"` + strings.Repeat("some words of a text ", 1<<20/21) + `"`,
	} {
		r := readFor(b, llmgateway.Chat, `{"model":"m","messages":[{"role":"user","content":`+content+`}],"tools":[{}]}`)
		b.Run("needs/"+name, func(b *testing.B) {
			b.SetBytes(int64(len(r.Body.Bytes)))
			b.ReportAllocs()
			for b.Loop() {
				Needs(r)
			}
		})
		b.Run("tokens/"+name, func(b *testing.B) {
			b.SetBytes(int64(len(r.Body.Bytes)))
			b.ReportAllocs()
			for b.Loop() {
				MinTokens(r)
			}
		})
	}
}
