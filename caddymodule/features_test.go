package caddymodule

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// features are requests for all that llama-server can do, and what its answer must say to have done it: values of paths in
// an answer that is not streamed. Most have cache_prompt, without which an answer depends on those before it.
var features = []struct {
	name, path, members string
	want                map[string]string
	// loose says that llama-server tells more, or less, in a stream than in a whole answer.
	loose []string
}{
	{
		name: "text", path: "/chat/completions", members: `"messages":[{"role":"user","content":"The code word is maple."}]`,
		want: map[string]string{"choices.0.message.content": "The code word is: maple", "choices.0.finish_reason": "stop", "timings.predicted_n": "3"},
	},
	{
		name: "a tool call", path: "/chat/completions", members: `"messages":[{"role":"user","content":"Hello"}],` + weather,
		want: map[string]string{
			"choices.0.message.tool_calls.#": "1", "choices.0.message.tool_calls.0.function.arguments": `{"city":""}`, "choices.0.finish_reason": "tool_calls",
		},
	},
	{
		name: "parallel tool calls", path: "/chat/completions", members: `"parallel_tool_calls":true,"messages":[{"role":"user","content":"Try twice"}],` + weather,
		want: map[string]string{"choices.0.message.tool_calls.#": "2", "choices.0.message.tool_calls.1.function.name": "get_weather"},
	},
	{
		name: "a required tool call", path: "/chat/completions", members: `"tool_choice":"required","messages":[{"role":"user","content":"The code word is maple."}],` + weather,
		want: map[string]string{"choices.0.message.tool_calls.#": "1"},
	},
	{
		name: "a tool's result", path: "/chat/completions", members: `"messages":[{"role":"user","content":"Hello"},{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"get_weather","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"maple"}],` + weather,
		want: map[string]string{"choices.0.message.content": "The tool has answered. The code word is: maple"},
	},
	{
		name: "reasoning", path: "/chat/completions", members: `"reasoning_effort":"high","messages":[{"role":"user","content":"Hello, step by step"}]`,
		want: map[string]string{"choices.0.message.reasoning_content": "One step, and another.\n"},
	},
	{
		name: "reasoning within the text", path: "/chat/completions", members: `"reasoning_format":"none","messages":[{"role":"user","content":"Hello, step by step"}],"max_tokens":3`,
		want: map[string]string{"choices.0.message.content": "<think>\nOne step, and another.\n</think>\n\n"},
	},
	{
		name: "a JSON object", path: "/chat/completions", members: `"response_format":{"type":"json_object"},"messages":[{"role":"user","content":"Hello"}]`,
		want: map[string]string{"choices.0.message.content": "{}"},
	},
	{
		name: "JSON with a schema", path: "/chat/completions", members: `"response_format":{"type":"json_schema","json_schema":{"name":"a","strict":true,"schema":{"type":"object","properties":{"a":{"enum":["x"]},"b":{"type":"integer"}},"required":["a","b"]}}},"messages":[{"role":"user","content":"Hello"}]`,
		want: map[string]string{"choices.0.message.content": `{"a":"x","b":0}`},
	},
	{
		name: "a grammar", path: "/chat/completions", members: `"grammar":"root ::= \"yes\" | \"no\"","max_tokens":10,"messages":[{"role":"user","content":"Hello"}]`,
		want: map[string]string{"choices.0.finish_reason": "stop"},
	},
	{
		name: "logprobs", path: "/chat/completions", members: `"logprobs":true,"top_logprobs":3,"max_tokens":2,"messages":[{"role":"user","content":"Hello"}]`,
		want: map[string]string{"choices.0.logprobs.content.#": "2", "choices.0.logprobs.content.0.top_logprobs.#": "3", "choices.0.logprobs.content.0.token": "Hello!"},
	},
	{
		name: "stop", path: "/chat/completions", members: `"stop":["4, "],"messages":[{"role":"user","content":"count"}],"max_tokens":20`,
		want: map[string]string{"choices.0.message.content": "1, 2, 3, ", "choices.0.finish_reason": "stop"},
	},
	{
		name: "max_completion_tokens", path: "/chat/completions", members: `"max_completion_tokens":4,"messages":[{"role":"user","content":"count"}]`,
		want: map[string]string{"choices.0.message.content": "1, 2, 3, 4, ", "choices.0.finish_reason": "length", "usage.completion_tokens": "4"},
	},
	{
		name: "several answers", path: "/chat/completions", members: `"n":2,"messages":[{"role":"user","content":"The code word is maple."}]`,
		want: map[string]string{"choices.#": "2", "choices.0.index": "0", "choices.1.index": "1", "choices.1.message.content": "The code word is: maple"},
	},
	{
		name: "logit_bias", path: "/chat/completions", members: `"logit_bias":{"Hello!":false},"max_tokens":1,"messages":[{"role":"user","content":"Hello"}],"logprobs":true`,
		want: map[string]string{"choices.0.message.content": "<tool_call>"},
	},
	{
		name: "samplers", path: "/chat/completions", members: `"seed":7,"temperature":1.5,"top_k":40,"top_p":0.9,"min_p":0.1,"typical_p":0.9,"repeat_penalty":1.1,"presence_penalty":0.1,"frequency_penalty":0.1,"mirostat":0,"samplers":["top_k","min_p","temperature"],"messages":[{"role":"user","content":"Hello"}]`,
		want: map[string]string{"choices.0.message.content": "Hello! I am the starter model: small enough to come with the gateway, and made by hand. I repeat code words, go on counting and call tools."},
	},
	{
		name: "timings and progress", path: "/chat/completions", members: `"timings_per_token":true,"return_progress":true,"max_tokens":4,"messages":[{"role":"user","content":"count"}]`,
		want: map[string]string{"timings.prompt_n": "5", "timings.cache_n": "0"}, loose: []string{"prompt_progress"},
	},
	{
		name: "what llama-server worked with", path: "/chat/completions", members: `"verbose":true,"return_tokens":true,"max_tokens":3,"messages":[{"role":"user","content":"count"}]`,
		want: map[string]string{"__verbose.tokens.#": "3"}, loose: []string{"__verbose"},
	},
	{
		name: "a prefilled answer", path: "/chat/completions", members: `"messages":[{"role":"user","content":"The code word is maple."},{"role":"assistant","content":"The code word is: "}],"max_tokens":5`,
		want: map[string]string{"choices.0.finish_reason": "stop"},
	},
	{
		name: "settings of the template", path: "/chat/completions", members: `"chat_template_kwargs":{"enable_thinking":false},"messages":[{"role":"user","content":"Hello"}],"max_tokens":3`,
		want: map[string]string{"choices.0.finish_reason": "length"},
	},
	{
		name: "an image", path: "/chat/completions", members: `"messages":[{"role":"user","content":[{"type":"text","text":"Hello"},{"type":"image_url","image_url":{"url":"` + redDot + `","detail":"high"}}]}]`,
		want: map[string]string{"choices.0.message.content": "The image is red."},
	},
	{
		name: "usage with a stream", path: "/chat/completions", members: `"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Hello"}]`,
		want: map[string]string{"usage.prompt_tokens_details.cached_tokens": "0"},
	},
	{
		name: "a completion", path: "/completions", members: `"prompt":"It was maple. The code word is: ","max_tokens":5,"logprobs":2`,
		want: map[string]string{"choices.0.text": "maple"},
	},
	{
		name: "a completion with samplers", path: "/completions", members: `"prompt":"Once upon a time","n_predict":1,"n_probs":2,"post_sampling_probs":true,"ignore_eos":true,"stop":["x"]`,
		want: map[string]string{"choices.0.finish_reason": "length"},
	},
	{
		name: "an embedding", path: "/embeddings", members: `"input":"maple tree"`,
		want: map[string]string{"data.#": "1", "data.0.embedding.#": "288"},
	},
	{
		name: "embeddings", path: "/embeddings", members: `"input":["maple tree","tulip"],"encoding_format":"float","dimensions":288`,
		want: map[string]string{"data.#": "2", "data.1.index": "1", "data.1.embedding.#": "288"},
	},
	{
		name: "embeddings in base64", path: "/embeddings", members: `"input":["maple tree","tulip"],"encoding_format":"base64"`,
		want: map[string]string{"data.#": "2", "data.1.encoding_format": "base64"},
	},
}

const (
	weather = `"tools":[{"type":"function","function":{"name":"get_weather","description":"Says how the weather is","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}}]`
	// redDot is a PNG file of one red pixel.
	redDot = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)

// TestFeaturesPassThrough asks for each feature through the gateway and at llama-server's own socket. The answers must be
// equal, member by member; also where the gateway asks for a stream that the client did not ask for.
func TestFeaturesPassThrough(t *testing.T) {
	g, server := startSeeing(t)
	client := g.client("HTTP/2.0")
	for _, tt := range features {
		t.Run(tt.name, func(t *testing.T) {
			body := func(model string, stream bool) string {
				return fmt.Sprintf(`{"model":%q,"cache_prompt":false,"stream":%t,%s}`, model, stream, tt.members)
			}
			url := g.url(tt.path)
			// The model's name as the gateway asks for it, since llama-server repeats it with embeddings.
			want := fetch(t, server, "http://llama/v1"+tt.path, body("starter", false))
			for path, value := range tt.want {
				if got := gjson.Get(want[0], path).String(); got != value {
					t.Errorf("llama-server: %s is %q, want %q, in %s", path, got, value, want[0])
				}
			}
			same(t, "plain", fetch(t, client, url, body("plain", false)), want, nil)
			eager := append([]string{"whole"}, tt.loose...)
			same(t, "merged", fetch(t, client, url, body("eager", false)), want, eager)
			if tt.path == "/embeddings" {
				return
			}
			want = fetch(t, server, "http://llama/v1"+tt.path, body("starter", true))
			if want[len(want)-1] != "[DONE]" {
				t.Fatalf("llama-server streams no end: %q", want)
			}
			same(t, "streamed", fetch(t, client, url, body("plain", true)), want, nil)
			same(t, "streamed with a deadline", fetch(t, client, url, body("eager", true)), want, nil)
		})
	}
}

// startSeeing starts a gateway for the starter model with its projector. It also returns a client for llama-server itself.
func startSeeing(t *testing.T) (*gateway, *http.Client) {
	t.Helper()
	g := newGateway(t)
	g.start(fmt.Sprintf(`llm {
		provider near llamacpp %q {
			n_ctx 4096
			n_parallel 2
			n_threads 1
			mmproj auto
			embeddings
			preload
		}
		model plain {
			to near
		}
		model eager {
			to near {
				first_token_timeout 1m
			}
		}
	}`, starterModel(t)))
	var sockets []string
	await(t, "llama-server", func() bool {
		sockets, _ = filepath.Glob(filepath.Join(g.dir, "llmgateway-*", "*.sock"))
		return len(sockets) == 1
	})
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", sockets[0])
	}
	server := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	await(t, "a loaded model", func() bool {
		resp, err := server.Get("http://llama/health")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return g, server
}

// url returns the address of an operation.
func (g *gateway) url(path string) string {
	_, port, _ := net.SplitHostPort(g.address)
	return "https://localhost:" + port + "/v1" + path
}

// fetch returns the events of an answer, or the one object that it is.
func fetch(t *testing.T, client *http.Client, url, body string) []string {
	t.Helper()
	events, err := post(t.Context(), client, url, body)
	if err != nil {
		t.Fatalf("%.2000s: %v", body, err)
	}
	return events
}

func post(ctx context.Context, client *http.Client, url, body string) (events []string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s, %s, %v", resp.Status, text, err)
	}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return []string{string(text)}, nil
	}
	for line := range bytes.Lines(text) {
		if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			events = append(events, string(bytes.TrimSpace(data)))
		}
	}
	return events, nil
}

// same compares answers, but for what differs between any two of them. loose has the members that are left out as well,
// and "whole" if got was put together of a stream, where llama-server writes some members otherwise.
func same(t *testing.T, how string, got, want, loose []string) {
	t.Helper()
	a, b := decodeEvents(t, got, loose), decodeEvents(t, want, loose)
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%s:\ngot  %s\nwant %s", how, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// decodeEvents decodes the events of an answer. Those of several choices come as the slots happen to be done, so they are
// ordered by choice.
func decodeEvents(t *testing.T, events []string, loose []string) []any {
	t.Helper()
	var decoded []any
	choice := func(event string) int64 { return gjson.Get(event, "choices.0.index").Int() }
	events = slices.Clone(events)
	if slices.ContainsFunc(events, func(e string) bool { return choice(e) > 0 }) {
		slices.SortStableFunc(events, func(a, b string) int { return cmp.Compare(choice(a), choice(b)) })
	}
	for _, event := range events {
		if event == "[DONE]" {
			decoded = append(decoded, event)
			continue
		}
		var value any
		d := json.NewDecoder(strings.NewReader(event))
		d.UseNumber()
		if err := d.Decode(&value); err != nil {
			t.Fatalf("%s: %v", event, err)
		}
		decoded = append(decoded, constant(value, loose))
	}
	return decoded
}

// constant takes out of an answer what no other has: ids, and how long things took.
func constant(value any, loose []string) any {
	whole := slices.Contains(loose, "whole")
	switch value := value.(type) {
	case []any:
		if whole {
			// A stream has no probability for the end.
			value = slices.DeleteFunc(value, func(e any) bool { m, ok := e.(map[string]any); return ok && m["token"] == "" })
		}
		for i, element := range value {
			value[i] = constant(element, loose)
		}
		return value
	case map[string]any:
		if _, ok := value["tool_calls"]; ok && whole && value["content"] == "" {
			value["content"] = nil // as a stream has it
		}
		for name, member := range value {
			switch {
			case slices.Contains(loose, name):
				delete(value, name)
			case name == "created" || name == "id_slot" || strings.HasSuffix(name, "_ms") || strings.HasSuffix(name, "_per_second"):
				value[name] = "some"
			case name == "id":
				if id, ok := member.(string); ok { // those of tokens are numbers
					value[name] = id != ""
				}
			default:
				value[name] = constant(member, loose)
			}
		}
	}
	return value
}
