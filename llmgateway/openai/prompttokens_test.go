package openai

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/png"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestPromptTokensAreOfAllThatIsRead(t *testing.T) {
	var screenshot bytes.Buffer
	if err := png.Encode(&screenshot, image.NewGray(image.Rect(0, 0, 1920, 1080))); err != nil {
		t.Fatal(err)
	}
	shot := "data:image/png;base64," + base64.StdEncoding.EncodeToString(screenshot.Bytes())
	text := strings.Repeat("the quick brown fox jumps over the lazy dog, ", 20) // 200 and a bit
	quoted, _ := json.Marshal(text)
	for _, test := range []struct {
		name, body string
		op         llmgateway.Operation
		from, to   int
	}{
		{"a text", `{"model":"m","messages":[{"role":"user","content":` + string(quoted) + `}]}`, llmgateway.Chat, 190, 230},
		{"a part", `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":` + string(quoted) + `}]}]}`, llmgateway.Chat, 190, 230},
		{"two messages", `{"model":"m","messages":[{"role":"system","content":` + string(quoted) + `},{"role":"user","content":` + string(quoted) + `}]}`, llmgateway.Chat, 380, 460},
		{"a screenshot", `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"` + shot + `"}}]}]}`, llmgateway.Chat, 1105, 1120},
		{"a screenshot in low detail", `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"` + shot + `","detail":"low"}}]}]}`, llmgateway.Chat, 85, 95},
		{"a screenshot without an object", `{"model":"m","messages":[{"role":"user","content":[{"type":"input_image","image_url":"` + shot + `"}]}]}`, llmgateway.Chat, 1105, 1120},
		{"an image elsewhere", `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}]}`, llmgateway.Chat, 765, 780},
		{"a call", `{"model":"m","messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":` + string(quoted) + `}}]}]}`, llmgateway.Chat, 190, 240},
		{"a tool", `{"model":"m","messages":[],"tools":[{"type":"function","function":{"name":"f","description":` + string(quoted) + `}}]}`, llmgateway.Chat, 190, 240},
		{"no tools", `{"model":"m","messages":[],"tools":[]}`, llmgateway.Chat, 0, 10},
		{"nothing", `{"model":"m"}`, llmgateway.Chat, 0, 0},
		{"odd", `{"model":"m","messages":[1,{"content":7,"tool_calls":{},"function_call":3},{"content":[1,{"image_url":null,"text":[]}]}]}`, llmgateway.Chat, 0, 800},
		{"a prompt", `{"model":"m","prompt":` + string(quoted) + `}`, llmgateway.Completion, 190, 225},
		{"prompts", `{"model":"m","prompt":[` + string(quoted) + `,` + string(quoted) + `]}`, llmgateway.Completion, 380, 450},
		{"tokens", `{"model":"m","prompt":[1,2,3,4,5]}`, llmgateway.Completion, 5, 5},
		{"an input", `{"model":"m","input":[` + string(quoted) + `]}`, llmgateway.Embeddings, 190, 225},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := Read(test.op, llmgateway.NewBody([]byte(test.body)))
			if err != nil {
				t.Fatal(err)
			}
			if got := PromptTokens(r); got < test.from || got > test.to {
				t.Errorf("got %d, want from %d to %d", got, test.from, test.to)
			}
		})
	}
}

// BenchmarkPromptTokens has a long conversation, and one with megabytes of screenshots.
func BenchmarkPromptTokens(b *testing.B) {
	text, _ := json.Marshal(strings.Repeat("Please open the settings, and tell me what \"display\" says.\n", 50))
	for name, content := range map[string]string{
		"text":   string(text),
		"images": `[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + strings.Repeat("iVBORw0KGgoA", 100_000) + `"}}]`,
	} {
		b.Run(name, func(b *testing.B) {
			body := `{"model":"m","messages":[{"role":"user","content":` + strings.Repeat(content+`},{"role":"user","content":`, 20) + `"hi"}]}`
			r, err := Read(llmgateway.Chat, llmgateway.NewBody([]byte(body)))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				PromptTokens(r)
			}
		})
	}
}
