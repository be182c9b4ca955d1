package bytebot

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// server is a target that answers or refuses.
type server struct {
	to   llmgateway.Destination
	says func(body map[string]any, raw string) (answer string, err error)
	sent []string // the bodies that it got
}

// ask sends a request through an exchange to the server.
func (s *server) ask(t *testing.T, a *Adapter, text string) (answer llmgateway.Event, err error) {
	t.Helper()
	req, err := a.Adapt(t.Context(), request(t, text))
	if err != nil {
		t.Fatal(err)
	}
	for event, failed := range req.Exchange.Answer(t.Context(), req, s.route(t)) {
		event.Data = slices.Clone(event.Data)
		answer, err = event, failed
	}
	return answer, err
}

// route is a router that has the server for its only target.
func (s *server) route(t *testing.T) llmgateway.Generate {
	return func(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
		return func(yield func(llmgateway.Event, error) bool) {
			if trace := llmgateway.ContextTrace(ctx); trace.Answering != nil {
				trace.Answering(llmgateway.Attempt{Context: s.to.Limits.Context})
			}
			if s.to.Limits.Cannot&llmgateway.CanSee != 0 && openai.Needs(req)&llmgateway.CanSee != 0 {
				yield(llmgateway.Event{}, &llmgateway.Error{Kind: llmgateway.Unsupported, Message: "it cannot take images"})
				return
			}
			req.Exchange.Attempt(ctx, s.to, req, s.generate(t))(yield)
		}
	}
}

func (s *server) generate(t *testing.T) llmgateway.Generate {
	return func(_ context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
		return func(yield func(llmgateway.Event, error) bool) {
			text := sentBody(t, req)
			s.sent = append(s.sent, text)
			var body map[string]any
			if err := json.Unmarshal([]byte(text), &body); err != nil {
				t.Errorf("%v in %s", err, text)
			}
			answer, err := s.says(body, text)
			yield(llmgateway.Event{Data: []byte(answer), Carries: true, Whole: true}, err)
		}
	}
}

// sentBody returns what a client of OpenAI's API would send.
func sentBody(t *testing.T, req *llmgateway.Request) string {
	t.Helper()
	members := map[string]json.RawMessage{}
	for _, m := range req.Members {
		members[m.Name] = req.Raw(m)
	}
	for _, e := range req.Edits {
		if _, ok := members[e.Name]; ok {
			delete(members, e.Name)
			if e.Value != "" {
				members[e.Name] = json.RawMessage(e.Value)
			}
		}
	}
	for _, e := range req.Additions {
		if _, ok := req.Lookup(e.Name); !ok {
			members[e.Name] = json.RawMessage(e.Value)
		}
	}
	text, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func refusal(message string) error {
	return &llmgateway.Error{Kind: llmgateway.InvalidRequest, Status: 400, Message: message}
}

// calling returns a whole answer that is one call.
func calling(id, name, arguments string, total int) string {
	return fmt.Sprintf(`{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":%q,"type":"function","function":{"name":%q,"arguments":%s}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":%d,"completion_tokens":0,"total_tokens":%d}}`,
		id, name, quote(arguments), total, total)
}

func fine(map[string]any, string) (string, error) {
	return calling("c", "computer_screenshot", "{}", 10), nil
}

func TestTargetTeachesByWhatItRefusesAndOnlyOnce(t *testing.T) {
	click := []string{systemMessage, task, calls("call_1", "f", "{}"), calls("call_2", "g", "{}"), answers("call_1", "a"), answers("call_2", "b"), shows("AAAA")}
	for _, test := range []struct {
		name   string
		refuse func(body map[string]any, raw string) error
		asked  int // in the first request
	}{
		{"effort", func(body map[string]any, _ string) error {
			if body["reasoning_effort"] != nil {
				return &llmgateway.Error{Kind: llmgateway.InvalidRequest, Message: "Unsupported parameter", Param: "reasoning_effort"}
			}
			return nil
		}, 2},
		{"must call tools", func(body map[string]any, _ string) error {
			if body["tool_choice"] != nil {
				return refusal("deepseek-reasoner does not support this tool_choice")
			}
			return nil
		}, 2},
		{"max_completion_tokens", func(body map[string]any, _ string) error {
			if body["max_tokens"] != nil {
				return refusal("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.")
			}
			if body["max_completion_tokens"] != 8192.0 {
				return fmt.Errorf("no max_completion_tokens")
			}
			return nil
		}, 2},
		{"shorter answers", func(body map[string]any, _ string) error {
			if body["max_tokens"].(float64) > 4096 {
				return refusal("max_tokens is too large: 8192. This model supports at most 4096 completion tokens")
			}
			if body["max_tokens"] != 4096.0 {
				return fmt.Errorf("max_tokens %v", body["max_tokens"])
			}
			return nil
		}, 2},
		{"roles and ids", func(_ map[string]any, raw string) error {
			messages, _ := messagesOf(t, raw)
			if err := checkMistral(messages); err != nil {
				return &llmgateway.Error{Kind: llmgateway.Upstream, Status: 500, Message: "the local model server failed", Err: err}
			}
			return nil
		}, 3},
		{"thoughts", func(_ map[string]any, raw string) error {
			messages, _ := messagesOf(t, raw)
			return errOr(checkDeepSeek(messages))
		}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAdapter(t, Config{})
			s := &server{says: func(body map[string]any, raw string) (string, error) {
				if err := test.refuse(body, raw); err != nil {
					return "", err
				}
				return fine(body, raw)
			}}
			for i, want := range []int{test.asked, 1, 1} {
				s.sent = nil
				if _, err := s.ask(t, a, body(click...)); err != nil {
					t.Fatalf("%v of %s", err, s.sent[len(s.sent)-1])
				}
				if len(s.sent) != want {
					t.Errorf("request %d: asked %d times, want %d", i, len(s.sent), want)
				}
			}
		})
	}
}

func errOr(err error) error {
	if err != nil {
		return refusal(err.Error())
	}
	return nil
}

// What is none of the adapter's business goes to the router as it came.
func TestOtherRefusalsPass(t *testing.T) {
	for _, err := range []*llmgateway.Error{
		{Kind: llmgateway.InvalidRequest, Message: "the member temperature must be a number"},
		{Kind: llmgateway.RateLimited, Message: "reasoning_effort costs too much"},
		{Kind: llmgateway.Upstream, Message: "broken"},
	} {
		s := &server{says: func(map[string]any, string) (string, error) { return "", err }}
		if _, got := s.ask(t, newAdapter(t, Config{ShowErrors: true}), body(systemMessage, task)); got != error(err) || len(s.sent) != 1 {
			t.Errorf("got %v after %d requests, want %v", got, len(s.sent), err)
		}
	}
}

// A model that may talk can talk without end: the agent asks again at once, and has no limit.
func TestModelMustCallATool(t *testing.T) {
	for _, test := range []struct {
		name, body string
		config     Config
		want       any
	}{
		{"a task", body(systemMessage, task), Config{}, "required"},
		{"switched off", body(systemMessage, task), Config{FreeToTalk: true}, nil},
		{"a summary", strings.Replace(body(systemMessage, task), `"tools":`+someTools+`,`, "", 1), Config{}, nil},
		{"chosen already", strings.Replace(body(systemMessage, task), `"tools":`, `"tool_choice":"auto","tools":`, 1), Config{}, "auto"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &server{says: func(body map[string]any, raw string) (string, error) {
				if body["tool_choice"] != test.want {
					t.Errorf("got %v, want %v", body["tool_choice"], test.want)
				}
				return fine(body, raw)
			}}
			if _, err := s.ask(t, newAdapter(t, test.config), test.body); err != nil {
				t.Error(err)
			}
		})
	}
}

// The agent keeps arguments as JSONB, which has another order of keys, and other white space.
func TestArgumentsAreAsTheModelWroteThem(t *testing.T) {
	const wrote, kept = `{"coordinates": {"x": 640, "y": 480}, "button": "left", "clickCount": 1.0}`, `{"button":"left","clickCount":1,"coordinates":{"x":640,"y":480}}`
	s := &server{says: func(map[string]any, string) (string, error) {
		return calling("call_7", "computer_click_mouse", wrote, 10), nil
	}}
	for _, test := range []struct {
		name, replayed, want string
		config               Config
	}{
		{"the same in another order", kept, wrote, Config{}},
		{"something else", `{"button":"right"}`, `{"button":"right"}`, Config{}},
		{"switched off", kept, kept, Config{KeepArguments: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAdapter(t, test.config)
			if _, err := s.ask(t, a, body(systemMessage, task)); err != nil {
				t.Fatal(err)
			}
			got := adapted(t, a, body(systemMessage, task, calls("call_7", "computer_click_mouse", test.replayed), answers("call_7", "done")))
			messages, _ := messagesOf(t, got)
			if got := messages[2].Calls[0].Function.Arguments; got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// A tenant's calls are its own.
func TestArgumentsOfOthersAreNotUsed(t *testing.T) {
	a := newAdapter(t, Config{})
	a.config.Memory.remember("alice", []byte(calling("call_0", "f", `{"a": 1}`, 1)))
	text := body(systemMessage, task, calls("call_0", "f", `{"a":1}`), answers("call_0", "done"))
	if got := adapted(t, a, text); strings.Contains(got, `{\"a\": 1}`) {
		t.Errorf("got %s", got)
	}
}

// Two calls in a row are one turn, unless it is known that the first one was never answered.
func TestUnansweredCallIsATurnOfItsOwn(t *testing.T) {
	a := newAdapter(t, Config{})
	a.config.Memory.remember("", []byte(calling("call_1", "click", `{}`, 1)))
	a.config.Memory.remember("", []byte(calling("call_2", "computer_screenshot", `{}`, 1)))
	_, roles := messagesOf(t, adapted(t, a, body(systemMessage, task, calls("call_1", "click", "{}"), calls("call_2", "computer_screenshot", "{}"), answers("call_2", "screenshot"))))
	if roles != "suctct" {
		t.Errorf("got %s", roles)
	}
}

func TestUsageTellsTheRealWindow(t *testing.T) {
	window := func(model string) int { return map[string]int{"m": 32768}[model] }
	for _, test := range []struct {
		name    string
		context int
		config  Config
		total   int
	}{
		{"a small window", 16384, Config{}, 78125},
		{"a large window", 256000, Config{}, 5000},
		{"a window that was told", 32768, Config{Window: window}, 10000},
		{"a smaller one than was told", 16384, Config{Window: window}, 20000},
		{"an unknown window", 0, Config{}, 10000},
		{"switched off", 16384, Config{KeepUsage: true}, 10000},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &server{
				to:   llmgateway.Destination{Limits: llmgateway.Limits{Context: test.context}},
				says: func(map[string]any, string) (string, error) { return calling("c", "f", "{}", 10000), nil },
			}
			answer, err := s.ask(t, newAdapter(t, test.config), body(systemMessage, task))
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Usage struct {
					Total int `json:"total_tokens"`
				}
			}
			if err := json.Unmarshal(answer.Data, &got); err != nil || got.Usage.Total != test.total {
				t.Errorf("got %d, %v, want %d", got.Usage.Total, err, test.total)
			}
		})
	}
}

func TestModelThatCannotSeeGetsTexts(t *testing.T) {
	s := &server{to: llmgateway.Destination{Limits: llmgateway.Limits{Cannot: llmgateway.CanSee}}, says: fine}
	if _, err := s.ask(t, newAdapter(t, Config{}), body(systemMessage, task, calls("a", "f", "{}"), answers("a", "done"), shows("AAAA"))); err != nil {
		t.Fatal(err)
	}
	if len(s.sent) != 1 || strings.Contains(s.sent[0], "base64") || strings.Count(s.sent[0], unseenImageText) != 1 {
		t.Errorf("sent %s", s.sent)
	}
}

// longTask returns a conversation of so many turns, each with a screenshot.
func longTask(turns int) []string {
	messages := []string{systemMessage, task}
	for i := range turns {
		id := fmt.Sprintf("call_%d", i)
		messages = append(messages, says("Step "+fmt.Sprint(i)+": "+strings.Repeat("look here ", 30)), calls(id, "computer_click_mouse", `{"x":1,"y":2}`), answers(id, "done"), shows(fmt.Sprintf("AAA%d", i)))
	}
	return messages
}

// What does not fit is made to fit, and what is left of the beginning stays the same from turn to turn.
func TestConversationFitsIntoTheWindow(t *testing.T) {
	const context = 6000
	s := &server{
		to: llmgateway.Destination{Limits: llmgateway.Limits{Context: context}},
		says: func(body map[string]any, raw string) (string, error) {
			if tokens := openai.PromptTokens(request(t, raw)) + int(body["max_tokens"].(float64)); tokens > context {
				t.Errorf("sent about %d tokens", tokens)
			}
			messages, _ := messagesOf(t, raw)
			if err := checkOpenAI(messages); err != nil {
				t.Error(err)
			}
			return fine(body, raw)
		},
	}
	a := newAdapter(t, Config{})
	kept, before := 0, ""
	const turns = 60
	for n := 1; n <= turns; n++ {
		if _, err := s.ask(t, a, body(longTask(n)...)); err != nil {
			t.Fatal(err)
		}
		last := s.sent[len(s.sent)-1]
		if !strings.Contains(last, fmt.Sprintf("Step %d:", n-1)) || !strings.Contains(last, fmt.Sprintf("AAA%d", n-1)) || !strings.Contains(last, "blue button") {
			t.Fatalf("turn %d is not there: %s", n, last)
		}
		_, list, _ := strings.Cut(last, `"messages":`)
		if list, _, _ = strings.Cut(list, `],"model"`); strings.HasPrefix(list, before) {
			kept++
		}
		before = list
	}
	if kept < turns/2 {
		t.Errorf("the beginning stayed the same in %d of %d turns", kept, turns)
	}
}

// A provider knows better than an estimate.
func TestConversationIsMadeShorterUntilItFits(t *testing.T) {
	for _, context := range []int{0, 100000} {
		s := &server{
			to: llmgateway.Destination{Limits: llmgateway.Limits{Context: context}},
			says: func(body map[string]any, raw string) (string, error) {
				if strings.Count(raw, "base64") > 1 || len(raw) > 8000 {
					return "", &llmgateway.Error{Kind: llmgateway.ContextLength, Message: "too long"}
				}
				return fine(body, raw)
			},
		}
		if _, err := s.ask(t, newAdapter(t, Config{}), body(longTask(20)...)); context == 0 && err != nil {
			t.Errorf("context %d: %v after %d requests", context, err, len(s.sent))
		}
		if len(s.sent) > maxSqueezed+2 {
			t.Errorf("asked %d times", len(s.sent))
		}
	}
}

// A provider that takes no request so large teaches how large they may be.
func TestRequestIsMadeSmallerUntilTheProviderTakesIt(t *testing.T) {
	screen := strings.Repeat("A", 1000)
	task := longTask(8)
	for i, message := range task {
		task[i] = strings.Replace(message, "AAA", screen+"AAA", 1)
	}
	for _, most := range []int{12000, 100} {
		s := &server{says: func(body map[string]any, raw string) (string, error) {
			if len(raw) > most {
				return "", &llmgateway.Error{Kind: llmgateway.Unsupported, Status: 413, Code: "request_too_large", Message: "too large"}
			}
			return fine(body, raw)
		}}
		a := newAdapter(t, Config{})
		for range 2 {
			asked := len(s.sent)
			answer, err := s.ask(t, a, body(task...))
			if err != nil {
				t.Fatal(err)
			}
			asked = len(s.sent) - asked
			if most == 100 {
				if help := helpOf(answer); !strings.Contains(help, "larger than the service takes") || asked > maxAsked {
					t.Errorf("asked %d times, and the user is told %q", asked, help)
				}
				continue
			}
			if kept := imagesOf(t, s.sent[len(s.sent)-1]); len(kept) < 2 || !strings.HasSuffix(kept[len(kept)-1], "AAA7") {
				t.Errorf("%d images stay", len(kept))
			}
			if first := asked == len(s.sent); !first && asked != 1 {
				t.Errorf("what was learned was forgotten: asked %d times", asked)
			}
		}
	}
}

func TestCoordinatesAreInTheModelsSpace(t *testing.T) {
	a := newAdapter(t, Config{KeepCalls: true, Targets: map[string]Options{"vl": {Space: image.Pt(1000, 1000)}}})
	s := &server{
		to: llmgateway.Destination{Provider: "vl", Model: "qwen"},
		says: func(_ map[string]any, raw string) (string, error) {
			if !strings.Contains(raw, `{\"coordinates\":{\"x\":500,\"y\":500},\"path\":[{\"x\":0,\"y\":1000}]}`) {
				t.Errorf("sent %s", raw)
			}
			return calling("b", "computer_click_mouse", `{"coordinates": {"x": 250, "y": 750.4}, "button": "left"}`, 1), nil
		},
	}
	answer, err := s.ask(t, a, body(systemMessage, task, calls("a", "computer_click_mouse", `{"coordinates":{"x":640,"y":480},"path":[{"x":0,"y":960}]}`), answers("a", "done")))
	if err != nil {
		t.Fatal(err)
	}
	if want := quote(`{"coordinates": {"x": 320, "y": 720}, "button": "left"}`); !strings.Contains(string(answer.Data), want) {
		t.Errorf("got %s, want %s in it", answer.Data, want)
	}
	s.to.Provider = "other"
	s.says = fine
	if _, err := s.ask(t, a, body(systemMessage, task, calls("a", "f", `{"x":640,"y":480}`), answers("a", "done"))); err != nil || !strings.Contains(s.sent[1], `{\"x\":640,\"y\":480}`) {
		t.Errorf("sent %s, %v", s.sent[1], err)
	}
}
