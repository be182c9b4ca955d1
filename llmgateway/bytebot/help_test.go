package bytebot

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// helpOf returns what an answer tells the user, if it asks for help.
func helpOf(e llmgateway.Event) string {
	name, arguments := callOf(e)
	if name != statusTool || gjson.Get(arguments, "status").Str != "needs_help" {
		return ""
	}
	return gjson.Get(arguments, "description").Str
}

func TestFailureForGoodAsksTheUserForHelp(t *testing.T) {
	for _, tt := range []struct {
		name    string
		err     *llmgateway.Error
		retries string
		help    string // or empty if the agent gets the error
	}{
		{"rate limited, first try", &llmgateway.Error{Kind: llmgateway.RateLimited, RetryAfter: time.Second}, "0", ""},
		{"rate limited, second try", &llmgateway.Error{Kind: llmgateway.RateLimited}, "1", ""},
		{"rate limited, last try", &llmgateway.Error{Kind: llmgateway.RateLimited, RetryAfter: time.Second}, "2", "It asks to wait 1s."},
		{"rate limited for hours", &llmgateway.Error{Kind: llmgateway.RateLimited, RetryAfter: time.Hour}, "0", "It asks to wait 1h0m0s."},
		{"overloaded", &llmgateway.Error{Kind: llmgateway.Overloaded}, "0", ""},
		{"overloaded, last try", &llmgateway.Error{Kind: llmgateway.Overloaded}, "2", "busy"},
		{"an error of the provider", &llmgateway.Error{Kind: llmgateway.Upstream}, "1", ""},
		{"an error of the provider, last try", &llmgateway.Error{Kind: llmgateway.Upstream, Message: "boom"}, "2", "What was reported: boom"},
		{"too slow", &llmgateway.Error{Kind: llmgateway.Timeout}, "0", "too long to answer"},
		{"a key that is refused", &llmgateway.Error{Kind: llmgateway.Denied}, "0", "refuses the gateway's key"},
		{"a wrong request", &llmgateway.Error{Kind: llmgateway.InvalidRequest}, "0", "refuses the request"},
		{"no such model", &llmgateway.Error{Kind: llmgateway.NoModel}, "0", "not there any more"},
		{"too long", &llmgateway.Error{Kind: llmgateway.ContextLength}, "0", "too long for the model"},
		{"blind", &llmgateway.Error{Kind: llmgateway.Unsupported}, "0", "see images"},
		{"filtered", &llmgateway.Error{Kind: llmgateway.ContentFilter}, "0", "refuses the content"},
		{"a client that does not count", &llmgateway.Error{Kind: llmgateway.Overloaded}, "", "busy"},
		{"the agent has left", &llmgateway.Error{Kind: llmgateway.Canceled}, "2", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := exchanged(t, newAdapter(t, Config{}), taskWith(t, tt.retries), &scripted{answers: []any{tt.err}})
			if tt.help == "" {
				if !errors.Is(err, tt.err) {
					t.Fatalf("got %s, %v", got.Data, err)
				}
				return
			}
			if help := helpOf(got); err != nil || !strings.Contains(help, tt.help) {
				t.Fatalf("got %s, %v", got.Data, err)
			}
			if id := gjson.GetBytes(got.Data, "choices.0.message.tool_calls.0.id").Str; !strings.HasPrefix(id, "call_") || !gjson.ValidBytes(got.Data) {
				t.Errorf("got %s", got.Data)
			}
		})
	}
}

func TestHelpIsAskedForOnlyWhereItCanBe(t *testing.T) {
	denied := &llmgateway.Error{Kind: llmgateway.Denied, Message: "no"}
	summary := request(t, `{"model":"m","messages":[`+systemMessage+`,`+task+`]}`)
	if got, err := exchanged(t, newAdapter(t, Config{}), summary, &scripted{answers: []any{denied}}); !errors.Is(err, denied) {
		t.Errorf("without the tool: got %s, %v", got.Data, err)
	}
	if got, err := exchanged(t, newAdapter(t, Config{ShowErrors: true}), taskWith(t, "2"), &scripted{answers: []any{denied}}); !errors.Is(err, denied) {
		t.Errorf("switched off: got %s, %v", got.Data, err)
	}
}

func TestErrorThatCannotBeToldAnyMoreAsksForHelp(t *testing.T) {
	limited := &llmgateway.Error{Kind: llmgateway.RateLimited}
	req := taskWith(t, "0")
	next, err := newAdapter(t, Config{}).Adapt(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	var concealed error
	ctx := llmgateway.WithTrace(t.Context(), &llmgateway.Trace{Late: func() bool { return true }, Concealed: func(err error) { concealed = err }})
	for event, err := range next.Exchange.Answer(ctx, next, (&scripted{t: t, answers: []any{limited}}).generate) {
		if err != nil || helpOf(event) == "" {
			t.Errorf("got %s, %v", event.Data, err)
		}
	}
	if !errors.Is(concealed, limited) {
		t.Errorf("told %v", concealed)
	}
}

func TestStreamAsksForHelpToo(t *testing.T) {
	req := taskWith(t, "2")
	req.Stream, req.ClientStream = true, true
	next, err := newAdapter(t, Config{}).Adapt(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(context.Context, *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
		return func(yield func(llmgateway.Event, error) bool) {
			yield(llmgateway.Event{}, &llmgateway.Error{Kind: llmgateway.Denied})
		}
	}
	for event, err := range openai.Merge(next.Exchange.Answer(t.Context(), next, ask)) {
		if err != nil || helpOf(event) == "" {
			t.Errorf("got %s, %v", event.Data, err)
		}
	}
}

func TestHelpTellsNoSecrets(t *testing.T) {
	const message = "dialing http://10.0.0.7:8080/v1/chat?key=abc and 192.168.1.2:9000, [fd00::1]:443, llm-host.internal:4000 with sk-proj-abcdefgh or Bearer abcdef, hf_abcdefghijk, 0123456789abcdef0123456789abcdef01234567: status 401 of provider far, model qwen/qwen3-vl:8b at /run/llm/engine.sock; cannot open /etc/llm/keys.json on gpu7.corp.internal, token=AbCd1234EfGh5678, Invalid key QwEr1234TyUi"
	got := clean(message)
	for _, secret := range []string{"10.0.0.7", "8080", "key=abc", "192.168", "fd00", "internal", "abcdefgh", "Bearer", "hf_", "0123456789", "/run", "/etc", "gpu7", "AbCd", "QwEr"} {
		if strings.Contains(got, secret) {
			t.Errorf("%s is in %s", secret, got)
		}
	}
	for _, word := range []string{"status 401 of provider far", "qwen/qwen3-vl:8b"} {
		if !strings.Contains(got, word) {
			t.Errorf("%s is not in %s", word, got)
		}
	}
}

// again returns n turns with the same call, each of which shows the screen that follows.
func again(n int, name, arguments string, screens ...string) (messages []string) {
	for i := range n {
		id := fmt.Sprintf("call_%d", i)
		messages = append(messages, says(fmt.Sprintf("Try %d.", i)), calls(id, name, arguments), answers(id, "Tool executed successfully"), shows(screens[i%len(screens)]))
	}
	return messages
}

func TestRepetitionIsNudgedAndThenEnds(t *testing.T) {
	const click = `{"button":"left"}`
	person := `{"role":"user","content":"Go on, please."}`
	// How the translations of other APIs put a person's words: behind what the tools have shown.
	besides := `{"role":"user","content":[{"type":"text","text":"Shown by computer_click_mouse:"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},{"type":"text","text":"Use the menu."}]}`
	inParts := `{"role":"user","content":[{"type":"text","text":"Use the menu."}]}`
	var reordered, waitAndClick []string
	for i, arguments := range []string{
		`{"button":"left","coordinates":{"x":1,"y":2}}`, `{"coordinates": {"y": 2, "x": 1}, "button": "left"}`,
		`{"coordinates":{"x":1,"y":2},"button":"left"}`,
	} {
		id := fmt.Sprint("call_", i)
		reordered = append(reordered, calls(id, "computer_click_mouse", arguments), answers(id, "ok"), shows("AAAA"))
	}
	for i := range 6 {
		wait, then := fmt.Sprint("wait_", i), fmt.Sprint("click_", i)
		waitAndClick = append(waitAndClick, calls(wait, "computer_wait", `{"duration":500}`), calls(then, "computer_click_mouse", click),
			answers(wait, "ok"), shows("AAAA"), answers(then, "ok"), shows("AAAA"))
	}
	// Two or three things in turn, with the screens that they lead to.
	inTurn := func(n int, screens ...string) (messages []string) {
		for i := range n {
			id, screen := fmt.Sprintf("call_%d", i), screens[i%len(screens)]
			messages = append(messages, calls(id, "computer_press_keys", `{"keys":["`+screen[:1]+`"]}`), answers(id, "ok"), shows(screen))
		}
		return messages
	}
	var waitAndLook []string
	for i := range 24 {
		wait, look := fmt.Sprint("wait_", i), fmt.Sprint("look_", i)
		waitAndLook = append(waitAndLook, calls(wait, "computer_wait", `{"duration":500}`), answers(wait, "ok"), shows("AAAA"),
			calls(look, "computer_screenshot", `{}`), answers(look, "ok"), shows("AAAA"))
	}
	for _, tt := range []struct {
		name       string
		messages   []string
		want       int
		nudge, end bool
	}{
		{"two calls in turn, twice", inTurn(4, "AAAA", "BBBB"), 2, false, false},
		{"two calls in turn, three times", inTurn(6, "AAAA", "BBBB"), 3, true, false},
		{"two calls in turn, six times", inTurn(13, "AAAA", "BBBB"), 6, true, true},
		{"three calls in turn", inTurn(9, "AAAA", "BBBB", "CCCC"), 3, true, false},
		{"two calls in turn with another screen at last", append(inTurn(6, "AAAA", "BBBB"), inTurn(1, "CCCC")...), 1, false, false},
		{"two calls in turn, and a person helps", append(inTurn(6, "AAAA", "BBBB"), person), 0, false, false},
		{"waiting and looking", waitAndLook[:4*6], 4, false, false},
		{"waiting and looking for long", waitAndLook, 24, true, true},
		{"nothing yet", nil, 0, false, false},
		{"twice the same call", again(2, "computer_click_mouse", click, "AAAA"), 2, false, false},
		{"three times", again(3, "computer_click_mouse", click, "AAAA"), 3, true, false},
		{"six times", again(6, "computer_click_mouse", click, "AAAA"), 6, true, true},
		{"the screen changes", again(6, "computer_click_mouse", click, "AAAA", "BBBB"), 1, false, false},
		{"a person helps", append(again(6, "computer_click_mouse", click, "AAAA"), person), 0, false, false},
		{"a person helped", append(append(again(6, "computer_click_mouse", click, "AAAA"), person), again(1, "computer_click_mouse", click, "AAAA")...), 1, false, false},
		{"a person helps beside a screenshot", append(again(6, "computer_click_mouse", click, "AAAA"), besides), 0, false, false},
		{"a person helps in parts", append(again(6, "computer_click_mouse", click, "AAAA"), inParts), 0, false, false},
		{"waiting", again(6, "computer_wait", `{"duration":500}`, "AAAA"), 6, false, false},
		{"waiting for long", again(24, "computer_wait", `{"duration":500}`, "AAAA"), 24, true, true},
		{"waiting for a screen that changes", again(24, "computer_wait", `{"duration":500}`, "AAAA", "BBBB"), 1, false, false},
		{"waiting and then something else", waitAndClick, 6, true, true},
		{"arguments in another order", reordered, 3, true, false},
		{"words", []string{says("Hello."), says("How can I help?"), says("Hello.")}, 3, true, false},
		{"words with thoughts", []string{says("Hello."), thinks("Hm."), says("Hello."), thinks("Hm.")}, 2, false, false},
		{"thoughts only", []string{thinks("Hm."), thinks("Hm."), thinks("Hm.")}, 3, true, false},
		{"words too often", []string{says("a"), says("b"), says("c"), says("d"), says("e"), says("f")}, 6, true, true},
		{"a tool that is not there", []string{calls("a", "fly", "{}"), calls("b", "fly", "{}"), calls("c", "fly", "{}")}, 3, true, false},
		{"parallel calls", []string{calls("a", "computer_screenshot", "{}"), calls("b", "computer_wait", "{}"), calls("c", "computer_cursor_position", "{}")}, 1, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := taskWith(t, "0", tt.messages...)
			c, ok := read(req)
			if !ok {
				t.Fatal("not read")
			}
			if got := c.streak(); got.count != tt.want {
				t.Errorf("got a streak of %d, want %d", got.count, tt.want)
			}
			m := &scripted{answers: []any{`{"role":"assistant","content":"ok"}`}}
			got, err := exchanged(t, newAdapter(t, Config{}), req, m)
			if err != nil {
				t.Fatal(err)
			}
			if help := helpOf(got); (help != "") != tt.end {
				t.Errorf("got %s", got.Data)
			}
			if len(m.asked) == 1 && strings.Contains(m.asked[0], "several times") != tt.nudge {
				t.Errorf("asked %s", m.asked[0])
			}
		})
	}
}

func TestLoopGuardCanBeTunedAndSwitchedOff(t *testing.T) {
	words := []string{says("a"), says("b"), says("c"), says("d"), says("e"), says("f"), says("g")}
	for _, tt := range []struct {
		config Config
		n      int
		end    bool
	}{
		{Config{LoopNudge: -1, LoopHelp: -1}, 7, false},
		{Config{LoopNudge: 1, LoopHelp: 2}, 1, false},
		{Config{LoopNudge: 1, LoopHelp: 2}, 2, true},
		{Config{LoopHelp: 5, KeepMessages: true}, 3, false},
	} {
		m := &scripted{answers: []any{`{"role":"assistant","content":"ok"}`}}
		got, err := exchanged(t, newAdapter(t, tt.config), taskWith(t, "0", words[:tt.n]...), m)
		if err != nil || (helpOf(got) != "") != tt.end {
			t.Errorf("%+v, %d: got %s, %v", tt.config, tt.n, got.Data, err)
		}
		if nudged := len(m.asked) == 1 && strings.Contains(m.asked[0], "with words only"); !tt.end && nudged != (tt.config.LoopNudge >= 0) {
			t.Errorf("%+v, %d: asked %s", tt.config, tt.n, m.asked)
		}
	}
}
