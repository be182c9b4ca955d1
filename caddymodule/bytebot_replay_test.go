package caddymodule

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/bytebot/replay"
)

// call is what a model does in one turn.
type call struct{ name, arguments string }

// script is a task of twelve turns.
var script = []call{
	{"computer_screenshot", `{}`},
	{"computer_application", `{"application":"firefox"}`},
	{"computer_wait", `{"duration":500}`},
	{"computer_click_mouse", `{"coordinates":{"x":640,"y":480},"button":"left","clickCount":1}`},
	{"computer_type_text", `{"text":"weather in Kyiv"}`},
	{"computer_type_keys", `{"keys":["Return"]}`},
	{"computer_scroll", `{"coordinates":{"x":640,"y":480},"direction":"down","scrollCount":3}`},
	{"computer_drag_mouse", `{"path":[{"x":1,"y":2},{"x":300,"y":400}],"button":"left"}`},
	{"computer_read_file", `{"path":"/tmp/notes.txt"}`},
	{"computer_paste_text", `{"text":"It is \"sunny\".\nNo rain."}`},
	{"computer_cursor_position", `{}`},
	{"set_task_status", `{"status":"completed","description":"The weather is noted."}`},
}

// actions are those of the script that change something on the desktop.
const actions = 8

// player is a model that plays the script.
type player struct {
	// says returns the message for a turn of the script.
	says func(turn int, c call) string
	// refuses returns the body of a 400 for a request that the model does not take, or nothing.
	refuses func(body []byte) string
	// delays is called before each answer.
	delays func(ctx context.Context, turn int)
	// fails reports whether a turn ends in a status 500.
	fails func(turn int) bool

	mu       sync.Mutex // guards what follows
	turn     int
	requests int
}

// ServeHTTP implements http.Handler.
func (p *player) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests++
	w.Header().Set("Content-Type", "application/json")
	if p.fails != nil && p.fails(p.turn) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, `{"error":{"message":"CUDA error at http://10.1.2.3:8000: out of memory","type":"server_error"}}`)
		return
	}
	if p.refuses != nil {
		if message := p.refuses(body); message != "" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `{"error":{"message":%q,"type":"invalid_request_error"}}`, message)
			return
		}
	}
	message := `{"role":"assistant","content":"A summary."}`
	if gjson.GetBytes(body, "tools.#").Int() > 0 {
		if p.delays != nil {
			p.delays(r.Context(), p.turn)
		}
		if r.Context().Err() != nil {
			return
		}
		message = p.says(p.turn, script[min(p.turn, len(script)-1)])
		p.turn++
	}
	_, _ = fmt.Fprintf(w, `{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"message":%s,"finish_reason":"stop"}],"usage":{"prompt_tokens":%d,"completion_tokens":20,"total_tokens":%d}}`,
		message, tokensOf(body), tokensOf(body)+20)
}

var base64Image = regexp.MustCompile(`base64,[A-Za-z0-9+/=]+`)

// tokensOf counts about as a model does: four letters are a token, and an image is 1600.
func tokensOf(body []byte) int {
	images := len(base64Image.FindAllIndex(body, -1))
	return len(base64Image.ReplaceAll(body, nil))/4 + 1600*images
}

// calls answers with a call as OpenAI has it.
func calls(turn int, c call) string {
	return fmt.Sprintf(`{"role":"assistant","content":null,"tool_calls":[{"id":"call_%d","type":"function","function":{"name":%q,"arguments":%s}}]}`, turn, c.name, quoted(c.arguments))
}

func quoted(s string) string { return gjson.Parse(fmt.Sprintf("[%q]", s)).Get("0").Raw }

// writes answers with calls in the text, each turn in the form of another family, and with the mistakes that they make.
func writes(turn int, c call) string {
	arguments := strings.NewReplacer(`{"x":640,"y":480}`, `[640, "480"]`, `"scrollCount":3`, `"scrollCount":"3"`, `"down"`, `"Down"`).Replace(c.arguments)
	name := strings.TrimSuffix(strings.TrimPrefix(c.name, "computer_"), "_mouse")
	forms := []string{
		"I will go on.\n<tool_call>\n{\"name\": %q, \"arguments\": %s}\n</tool_call>",
		"```json\n{\"name\": %q, \"input\": %s}\n```",
		"{\"name\": %q, \"parameters\": %s}",
		"[TOOL_CALLS][{\"name\": %q, \"arguments\": %s}]",
		"<|python_tag|>{\"name\": %q, \"parameters\": %s}<|eom_id|>",
		"<think>What now?</think>\n<function=%s>%s</function>",
	}
	return fmt.Sprintf(`{"role":"assistant","content":%s}`, quoted(fmt.Sprintf(forms[turn%len(forms)], name, arguments)))
}

// talks answers with words and calls nothing.
func talks(turn int, _ call) string {
	return fmt.Sprintf(`{"role":"assistant","content":"Hello! This is what I say for the %d. time."}`, turn+1)
}

// stutters says a few words without a call before each second call, as models do that go on with their own message.
func stutters() func(int, call) string {
	said, next := false, 0
	return func(int, call) string {
		if said = !said; said && next%2 == 1 {
			return talks(next, call{})
		}
		said = false
		next++
		return calls(next, script[min(next, len(script))-1])
	}
}

// strict is a template that takes no prefill and wants the roles to alternate.
func strict(body []byte) string {
	before := ""
	for _, m := range gjson.GetBytes(body, "messages").Array() {
		role := m.Get("role").Str
		if role == before && role != "tool" {
			return "Conversation roles must alternate user and assistant roles except for tool calls and results."
		}
		before = role
	}
	if before == "assistant" {
		return "Assistant response prefill is incompatible with enable_thinking."
	}
	return ""
}

// window is a model with a short context.
func window(body []byte) string {
	const context = 16384
	if n := tokensOf(body); n > context {
		return fmt.Sprintf("This model's maximum context length is %d tokens. However, your messages resulted in %d tokens.", context, n)
	}
	return ""
}

// agent returns an agent that talks to the gateway.
func (g *gateway) agent() *replay.Agent {
	client := g.client("HTTP/1.1")
	client.Timeout = 0
	return &replay.Agent{
		URL: strings.TrimSuffix(g.url(""), "/"), Client: client, Model: "m", MaxTurns: 60, Desktop: new(replay.Desktop),
		Wait: func(context.Context, time.Duration) {},
	}
}

// TestAgentFinishesItsTaskWithAnyModel runs a task of twelve turns with models of all kinds.
func TestAgentFinishesItsTaskWithAnyModel(t *testing.T) {
	afterFive := func(turn int) bool { return turn >= 5 }
	for _, tt := range []struct {
		name      string
		model     *player
		next      *player // asked when the first one fails
		frozen    bool
		want      replay.Status
		says      string // in the description
		actions   int
		mostTurns int
	}{
		{"a good one", &player{says: calls}, nil, false, replay.Completed, "weather is noted", actions, 12},
		{"one that writes calls as text", &player{says: writes}, nil, false, replay.Completed, "weather is noted", actions, 12},
		{"one that ignores tools", &player{says: talks}, nil, false, replay.NeedsHelp, "It said last: Hello! This is what I say for the 6. time.", 0, 7},
		{"one with a window of 16k", &player{says: calls, refuses: window}, nil, false, replay.Completed, "weather is noted", actions, 12},
		{"one that rejects prefill", &player{says: stutters(), refuses: strict}, nil, false, replay.Completed, "weather is noted", actions, 24},
		{"one that fails mid-task, and another", &player{says: calls, fails: afterFive}, &player{says: calls, turn: 5}, false, replay.Completed, "weather is noted", actions, 12},
		{"one that fails mid-task", &player{says: calls, fails: afterFive}, nil, false, replay.NeedsHelp, "The model failed. Resume the task", 4, 6},
		{
			"one that does the same for ever", &player{says: func(int, call) string { return calls(0, script[3]) }}, nil, true,
			replay.NeedsHelp, "same call again and again", 6, 7,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newGateway(t)
			second := ""
			if tt.next != nil {
				second = fmt.Sprintf("provider second openai %s", upstream(t, tt.next.ServeHTTP))
			}
			g.start(fmt.Sprintf(`llm {
				provider first openai %s
				%s
				model m {
					to first
					%s
				}
				client bytebot
			}`, upstream(t, tt.model.ServeHTTP), second, map[bool]string{true: "to second"}[tt.next != nil]))
			agent := g.agent()
			agent.Desktop.Frozen = tt.frozen
			got := agent.Start("Note what the weather is like in Kyiv.").Run(t.Context())
			if got.Status != tt.want || !strings.Contains(got.Description, tt.says) || got.Turns > tt.mostTurns {
				t.Fatalf("got %+v, want %s, %q, at most %d turns", got, tt.want, tt.says, tt.mostTurns)
			}
			if n := len(agent.Desktop.Actions()); n != tt.actions {
				t.Errorf("got %d actions, want %d: %v", n, tt.actions, agent.Desktop.Actions())
			}
			for _, secret := range []string{"10.1.2.3", "http://", "127.0.0.1"} {
				if strings.Contains(got.Description, secret) {
					t.Errorf("%q is in %q", secret, got.Description)
				}
			}
			if tt.name == "one that writes calls as text" {
				for _, a := range agent.Desktop.Actions() {
					if point, ok := a.Arguments["coordinates"].(map[string]any); a.Name == "computer_click_mouse" && (!ok || point["x"] != 640. || point["y"] != 480.) {
						t.Errorf("got %+v", a)
					}
				}
			}
		})
	}
}

// Without the client, the same tasks fail: or else the test above shows nothing.
func TestAgentFailsWithoutTheAdapter(t *testing.T) {
	for name, model := range map[string]*player{
		"writes calls as text": {says: writes}, "ignores tools": {says: talks}, "a window of 16k": {says: calls, refuses: window},
		"rejects prefill": {says: stutters(), refuses: strict}, "fails mid-task": {says: calls, fails: func(turn int) bool { return turn >= 5 }},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			g.start(fmt.Sprintf("llm {\nprovider first openai %s\nmodel m {\nto first\n}\n}", upstream(t, model.ServeHTTP)))
			agent := g.agent()
			agent.MaxTurns = 20
			if got := agent.Start("Note what the weather is like in Kyiv.").Run(t.Context()); got.Status != replay.Failed && got.Status != replay.Endless {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// The user reads what happened and resumes the task, when the model is back.
func TestTaskThatNeedsHelpCanBeResumed(t *testing.T) {
	down := true
	model := &player{says: calls, fails: func(turn int) bool { return turn == 5 && down }}
	g := newGateway(t)
	g.start(fmt.Sprintf("llm {\nprovider first openai %s\nmodel m {\nto first\n}\nclient bytebot\n}", upstream(t, model.ServeHTTP)))
	task := g.agent().Start("Note what the weather is like in Kyiv.")
	if got := task.Run(t.Context()); got.Status != replay.NeedsHelp {
		t.Fatalf("got %+v", got)
	}
	model.mu.Lock()
	down = false
	model.mu.Unlock()
	if got := task.Run(t.Context()); got.Status != replay.Completed {
		t.Errorf("resumed: got %+v", got)
	}
	if n := len(g.logged("request failed, the user is asked for help")); n != 1 {
		t.Errorf("logged %d failures", n)
	}
}

func TestAgentFinishesItsTaskWithTheStarterModel(t *testing.T) {
	model := starterModel(t)
	g := newGateway(t)
	g.start(fmt.Sprintf(`llm {
		provider near llamacpp %q {
			mmproj %q
			n_ctx 8192
		}
		model m {
			to near
		}
		client bytebot
	}`, model, filepath.Join(filepath.Dir(model), "starter-mmproj.gguf")))
	got := g.agent().Start("Look at the screen.").Run(t.Context())
	if got.Status != replay.Completed || !strings.Contains(got.Description, "tools were tried") {
		t.Errorf("got %+v", got)
	}
}

// headers tells when the header of an answer has come.
type headers struct {
	http.RoundTripper
	came chan struct{}
}

// RoundTrip implements http.RoundTripper.
func (h headers) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := h.RoundTripper.RoundTrip(r)
	h.came <- struct{}{}
	return resp, err
}

// The model answers only when the agent has the header.
func TestAgentGetsAHeaderBeforeTheAnswer(t *testing.T) {
	came := make(chan struct{}, 100)
	model := &player{says: calls, delays: func(ctx context.Context, _ int) {
		select {
		case <-came:
		case <-ctx.Done():
		}
	}}
	g := newGateway(t)
	g.start(fmt.Sprintf("encode gzip\nllm {\nprovider first openai %s\nmodel m {\nto first\n}\nclient bytebot {\npadding 30ms 20ms\n}\n}", upstream(t, model.ServeHTTP)))
	agent := g.agent()
	agent.Client.Transport = headers{agent.Client.Transport, came}
	if got := agent.Start("Note what the weather is like in Kyiv.").Run(t.Context()); got.Status != replay.Completed {
		t.Errorf("got %+v", got)
	}
}

// TestSlowModelInRealTime has a model that takes six minutes for an answer. LLMGATEWAY_SOAK runs it; otherwise a fake clock has to do,
// in the core's tests.
func TestSlowModelInRealTime(t *testing.T) {
	if os.Getenv("LLMGATEWAY_SOAK") == "" {
		t.Skip("takes six minutes; LLMGATEWAY_SOAK=1 runs it")
	}
	model := &player{says: calls, delays: func(ctx context.Context, turn int) {
		if turn == 3 {
			select {
			case <-time.After(6 * time.Minute):
			case <-ctx.Done():
			}
		}
	}}
	g := newGateway(t)
	g.start(fmt.Sprintf("llm {\nprovider first openai %s\nmodel m {\nto first\n}\nclient bytebot\n}", upstream(t, model.ServeHTTP)))
	began := time.Now()
	got := g.agent().Start("Note what the weather is like in Kyiv.").Run(t.Context())
	if got.Status != replay.Completed || got.Requests != len(script) || time.Since(began) < 6*time.Minute {
		t.Errorf("got %+v after %v", got, time.Since(began))
	}
}
