package caddymodule

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// TestRequestsGoWhereTheyCanBeServed has a text model that cannot be loaded, as its file is missing: it must not be asked.
func TestRequestsGoWhereTheyCanBeServed(t *testing.T) {
	g := newGateway(t)
	g.start(fmt.Sprintf(`llm {
		provider local llamacpp missing.gguf {
			n_ctx 1000
		}
		provider text openai %[1]s
		provider all openai %[1]s
		model m {
			to local
			to text {
				capabilities tools
				context 2000
			}
			to all
		}
		model limited {
			to local
			to text {
				capabilities tools
				context 2000
			}
		}
	}`, upstream(t, good)))
	client := g.client("HTTP/2.0")
	const image = `[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]`
	asking := func(model, content string, members ...string) string {
		return fmt.Sprintf(`{"model":%q,%s"messages":[{"role":"user","content":%s}]}`, model, strings.Join(append(members, ""), ","), content)
	}
	long := `"` + strings.Repeat("a ", 4002) + `"`
	for _, test := range []struct {
		name, body string
		status     int
		provider   string
		message    string
		code       string
	}{
		{"text", asking("m", `"hi"`), 200, "text", "", ""},
		{"an image", asking("m", image), 200, "all", "", ""},
		{"tools", asking("m", `"hi"`, `"tools":[{"type":"function","function":{"name":"f"}}]`), 200, "text", "", ""},
		{"a long prompt", asking("m", long), 200, "all", "", ""},
		{"an image for nobody", asking("limited", image), 400, "", "every target failed: local: it cannot take images; text: it cannot take images; what can take this request here: all/m", "unsupported_content"},
		{"a long prompt for nobody", asking("limited", long), 400, "", "every target failed: local: the prompt has at least 2001 tokens, and its context is 1000; text: the prompt has at least 2001 tokens, and its context is 2000; what can take this request here: all/m", "context_length_exceeded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := g.ask(t.Context(), client, test.body)
			if err != nil {
				t.Fatal(err)
			}
			if got.status != test.status || got.header.Get("X-LLM-Provider") != test.provider || got.message() != test.message ||
				gjson.Get(got.body, "error.code").Str != test.code {
				t.Errorf("got %d by %q: %s\nwant %d by %q: %s, %s", got.status, got.header.Get("X-LLM-Provider"), got.body, test.status, test.provider, test.code, test.message)
			}
			if loaded := test.name == "text" || test.name == "tools"; !loaded && got.header.Get("X-LLM-Attempts") > "1" {
				t.Errorf("%s targets were asked", got.header.Get("X-LLM-Attempts"))
			}
		})
	}
	checkModelInfo(t, g, client, "m", `{"id":"m","litellm_provider":"local","max_input_tokens":2000,"max_tokens":2000,"mode":"chat","supports_function_calling":true}`)
	checkModelInfo(t, g, client, "limited", `{"id":"limited","litellm_provider":"local","max_input_tokens":2000,"max_tokens":2000,"mode":"chat","supports_audio_input":false,"supports_function_calling":true,"supports_vision":false}`)
}

// checkModelInfo compares what GET /v1/model/info says of a model.
func checkModelInfo(t *testing.T, g *gateway, client *http.Client, model, want string) {
	t.Helper()
	req := g.request(t.Context(), "")
	req.Method, req.URL.Path = http.MethodGet, "/v1/model/info"
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var info any
	if err := json.Unmarshal([]byte(gjson.GetBytes(body, `data.#(model_name="`+model+`").model_info`).Raw), &info); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if got, _ := json.Marshal(info); string(got) != want { // with sorted names
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
