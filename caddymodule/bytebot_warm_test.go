package caddymodule

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	model "github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf/starter"
)

// agentTools are shaped like those that Bytebot offers.
const agentTools = `"tools":[
	{"type":"function","function":{"name":"computer_screenshot","parameters":{"type":"object","properties":{}}}},
	{"type":"function","function":{"name":"set_task_status","parameters":{"type":"object","properties":{
		"status":{"type":"string","enum":["completed","needs_help"]},"description":{"type":"string"}},"required":["status","description"]}}}]`

// asKept returns JSON as the agent keeps it: PostgreSQL's JSONB has an object's keys in order of their length, then of their
// bytes.
func asKept(t *testing.T, arguments string) string {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(arguments), &value); err != nil {
		t.Fatalf("%v in %s", err, arguments)
	}
	var write func(value any) string
	write = func(value any) string {
		object, ok := value.(map[string]any)
		if !ok {
			text, _ := json.Marshal(value)
			return string(text)
		}
		var members []string
		for name := range object {
			members = append(members, name)
		}
		slices.SortFunc(members, func(a, b string) int {
			return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
		})
		for i, name := range members {
			members[i] = fmt.Sprintf("%q:%s", name, write(object[name]))
		}
		return "{" + strings.Join(members, ",") + "}"
	}
	return write(value)
}

// detailedProjector writes a projector with which an image is 256 tokens, and returns its path.
func detailedProjector(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mmproj.gguf")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(model.WriteDetailedProjector(file, 16), file.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// readOverATask returns how many prompt tokens llama-server reads, and how many it is sent, over a task of twelve turns with a
// screenshot in each.
func readOverATask(t *testing.T, options string) (read, sent int) {
	t.Helper()
	g := newGateway(t)
	g.start(`llm {
		provider local llamacpp ../models/starter.gguf {
			mmproj ` + detailedProjector(t) + `
			n_ctx 8192
		}
		model m {
			to local
		}
		client bytebot {
			` + options + `
		}
	}`)
	messages := []string{`{"role":"system","content":"You drive a desktop of 1280 x 960 pixels."}`, `{"role":"user","content":"Press the blue button."}`}
	client := g.client("HTTP/1.1")
	for turn := range 12 {
		resp, err := client.Do(g.request(t.Context(), fmt.Sprintf(`{"model":"m","messages":[%s],"max_tokens":200,%s,"temperature":0}`, strings.Join(messages, ","), agentTools)))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		answer := gjson.ParseBytes(text)
		call := answer.Get("choices.0.message.tool_calls.0")
		if err != nil || !call.Exists() {
			t.Fatalf("turn %d: %s %v", turn, text, err)
		}
		// The agent is told another usage; llama-server's own numbers stay.
		prompt, cached := int(answer.Get("timings.prompt_n").Int()), int(answer.Get("timings.cache_n").Int())
		read, sent = read+prompt, sent+prompt+cached
		kept, _ := json.Marshal(asKept(t, call.Get("function.arguments").Str))
		messages = append(messages,
			fmt.Sprintf(`{"role":"assistant","tool_calls":[{"id":%s,"type":"function","function":{"name":%s,"arguments":%s}}]}`, call.Get("id").Raw, call.Get("function.name").Raw, kept),
			fmt.Sprintf(`{"role":"tool","tool_call_id":%s,"content":"done"}`, call.Get("id").Raw),
			// No two screenshots are the same.
			showing("Screenshot", painted(t, "png", 64+turn, 48, colours[turn%len(colours)].paint, false)))
	}
	t.Logf("%s: %d tokens were read of %d", options, read, sent)
	return read, sent
}

// Leaving images out in steps is what saves the reading: with a bound that holds in each turn, the beginning changes in each turn.
func TestPromptCacheHoldsOverATask(t *testing.T) {
	with, sent := readOverATask(t, "images 6 3")
	if with == 0 || 3*with > sent {
		t.Errorf("%d tokens were read of %d", with, sent)
	}
	if without, _ := readOverATask(t, "images 6 6"); 2*with > without {
		t.Errorf("%d tokens were read with steps, and %d without", with, without)
	}
}
