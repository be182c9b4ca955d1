package caddymodule

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// strictTemplates are chat templates of a few lines that refuse what the templates of some model families refuse.
var strictTemplates = map[string]string{
	"alternating, and ids of nine letters": `
{%- set ns = namespace(user=true) -%}
{%- for m in messages -%}
    {%- if m.role == "user" or (m.role == "assistant" and not m.tool_calls) -%}
        {%- if (m.role == "user") != ns.user -%}
            {{- raise_exception("After the optional system message, conversation roles must alternate user and assistant roles except for tool calls and results.") -}}
        {%- endif -%}
        {%- set ns.user = not ns.user -%}
    {%- endif -%}
    {%- for call in m.tool_calls -%}
        {%- if call.id | length != 9 -%}
            {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") -}}
        {%- endif -%}
    {%- endfor -%}
    {{- "<|" + m.role + "|>" + (m.content or "") + "\n" -}}
{%- endfor -%}
<|assistant|>`,
	"no tools and no system": `
{%- for m in messages -%}
    {%- if m.role == "system" -%}
        {{- raise_exception("System role not supported") -}}
    {%- endif -%}
    {%- if (m.role == "user") != (loop.index0 % 2 == 0) -%}
        {{- raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") -}}
    {%- endif -%}
    {{- "<|" + m.role + "|>" + m.content + "\n" -}}
{%- endfor -%}
<|assistant|>`,
}

// llama-server renders these templates with its own engine, and its errors are what is learned from.
func TestStrictTemplatesOfARealServerAreSatisfied(t *testing.T) {
	conversation := strings.Join([]string{
		`{"role":"system","content":"You drive a desktop."}`,
		`{"role":"user","content":"Press the blue button."}`,
		`{"role":"assistant","content":"I look."}`,
		`{"role":"assistant","tool_calls":[{"id":"call_1","type":"function","function":{"name":"computer_screenshot","arguments":"{}"}}]}`,
		`{"role":"assistant","tool_calls":[{"id":"call_2","type":"function","function":{"name":"computer_screenshot","arguments":"{}"}}]}`,
		`{"role":"tool","tool_call_id":"call_1","content":"screenshot"}`,
		`{"role":"user","content":"The screen is blue."}`,
		`{"role":"tool","tool_call_id":"call_2","content":"screenshot"}`,
		`{"role":"user","content":"The screen is red."}`,
		`{"role":"assistant","content":"I see."}`,
	}, ",")
	body := `{"model":"m","messages":[` + conversation + `],"max_tokens":4,"reasoning_effort":"high"}`
	for name, template := range strictTemplates {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "template.jinja")
			if err := os.WriteFile(file, []byte(template), 0o600); err != nil {
				t.Fatal(err)
			}
			ask := func(client string) (status int, text string) {
				g := newGateway(t)
				g.start(`llm {
					provider local llamacpp ../models/starter.gguf {
						n_ctx 4096
						chat_template_file ` + file + `
					}
					model m {
						to local
					}
					` + client + `
				}`)
				resp, err := g.client("HTTP/1.1").Do(g.request(t.Context(), body))
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				var answer json.RawMessage
				if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
					t.Fatal(err)
				}
				return resp.StatusCode, string(answer)
			}
			if status, text := ask(""); status == 200 {
				t.Errorf("the template takes everything: %s", text)
			}
			if status, text := ask("client bytebot"); status != 200 || !gjson.Get(text, "choices.0.message").Exists() {
				t.Errorf("got %d %s", status, text)
			}
		})
	}
}
