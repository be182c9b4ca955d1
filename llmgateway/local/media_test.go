package local

import (
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

func TestRemoteMediaAreNoticed(t *testing.T) {
	for _, test := range []struct {
		name, content string
		want          bool
	}{
		{"text only", `"look at http://example.com"`, false},
		{"text part", `[{"type":"text","text":"http://example.com"}]`, false},
		{"data", `[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]`, false},
		{"data with escaped slashes", `[{"type":"image_url","image_url":{"url":"data:image\/png;base64,\/9j\/"}}]`, false},
		{"base64 with escaped slashes", `[{"type":"input_audio","input_audio":{"data":"\/9j\/4AAQSkZJRg=="}}]`, false},
		{"http", `[{"type":"image_url","image_url":{"url":"http://169.254.169.254/"}}]`, true},
		{"https", `[{"type":"image_url","image_url" : { "detail":"low", "url" : "https://example.com/a.png"}}]`, true},
		{"audio", `[{"type":"input_audio","input_audio":{"data":"http://example.com/a.wav"}}]`, true},
		{"disguised value", `[{"type":"image_url","image_url":{"url":"\u0068ttp://example.com"}}]`, true},
		{"disguised member", `[{"type":"image_url","im\u0061ge_url":{"url":"http://example.com"}}]`, true},
		{"disguised name", `[{"type":"image_url","image_url":{"\u0075rl":"http://example.com"}}]`, true},
		{"after an image", `[{"image_url":{"url":"data:` + strings.Repeat("A", 1<<20) + `"}},{"image_url":{"url":"http://a"}}]`, true},
		{"upper case", `[{"type":"image_url","image_url":{"url":"HTTP://a"}}]`, true},
		{"a file", `[{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}]`, true},
		{"video", `[{"type":"video_url","video_url":{"x":{"y":[1,{}]},"url":"http://a"}}]`, true},
		{"a string for an object", `[{"type":"image_url","image_url":"http://a"}]`, true},
		{"a citation", `[{"type":"text","text":"x","annotations":[{"type":"url_citation","url_citation":{"url":"https://a"}}]}]`, false},
		{"behind an image", `[{"image_url":{"url":"data:AAAA","x":{}}},{"type":"text","text":"x","metadata":{"url":"https://a","data":"http"}}]`, false},
		{"an image behind it", `[{"metadata":{"url":"https://a"}},{"image_url":{"x":[{}],"url":"https://a"}}]`, true},
		{"quotes", `[{"type":"text","text":"\\\"url\": \"http://a\""}]`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := `{"model":"m","messages":[{"role":"user","content":` + test.content + `}]}`
			req, err := openai.Read(llmgateway.Chat, llmgateway.NewBody([]byte(body)))
			if err != nil {
				t.Fatal(err)
			}
			if got := fetches(req); got != test.want {
				t.Errorf("got %t, want %t", got, test.want)
			}
		})
	}
}

func TestProviderFetchesNoImages(t *testing.T) {
	body := `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://localhost/"}}]}]}`
	req, err := openai.Read(llmgateway.Chat, llmgateway.NewBody([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	p := &Provider{Engine: engine(t, func(c *Config) { c.MMProj = c.ModelPath })}
	_, err = generate(t.Context(), p, req)
	if e := llmgateway.AsError(err); err == nil || e.Kind != llmgateway.Unsupported {
		t.Errorf("got %v, want a refusal", err)
	}
	if !p.ModelInfo().Vision {
		t.Error("a model with a projector has no vision")
	}
}
