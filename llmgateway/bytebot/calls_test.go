package bytebot

import (
	"context"
	"iter"
	"os"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// desktopTools are tools like the agent's.
func desktopTools(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("replay/tools.json")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// taskWith returns a request with the desktop's tools, that the agent has sent so often before.
func taskWith(t *testing.T, retries string, messages ...string) *llmgateway.Request {
	t.Helper()
	req := request(t, strings.Replace(body(append([]string{systemMessage, task}, messages...)...), someTools, desktopTools(t), 1))
	if retries != "" {
		req.Header = map[string][]string{RetryField: {retries}}
	}
	return req
}

// scripted is a model that gives its answers, or errors, one after the other, and keeps what it was asked. An error that is the
// last stays.
type scripted struct {
	t       *testing.T
	answers []any // texts of messages, or errors
	asked   []string
}

func (m *scripted) generate(_ context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		asked := string(req.Body.Bytes)
		for _, e := range req.Edits {
			asked += e.Append
		}
		m.asked = append(m.asked, asked)
		if len(m.answers) == 0 {
			m.t.Error("the model is asked once too often")
			yield(llmgateway.Event{}, errEmpty)
			return
		}
		answer := m.answers[0]
		if _, fails := answer.(error); !fails || len(m.answers) > 1 {
			m.answers = m.answers[1:]
		}
		switch answer := answer.(type) {
		case error:
			yield(llmgateway.Event{}, answer)
		case string:
			data := `{"object":"chat.completion","choices":[{"index":0,"message":` + answer + `,"finish_reason":"stop"}],"usage":{"total_tokens":7}}`
			yield(llmgateway.Event{Data: []byte(data), Carries: true, Whole: true, FinishReason: "stop", Usage: &llmgateway.Usage{TotalTokens: 7}}, nil)
		}
	}
}

// exchanged returns what the agent gets of a model.
func exchanged(t *testing.T, a *Adapter, req *llmgateway.Request, m *scripted) (llmgateway.Event, error) {
	t.Helper()
	m.t = t
	next, err := a.Adapt(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	to := llmgateway.Destination{Provider: "far", Model: "upstream"}
	ask := func(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
		return req.Exchange.Attempt(ctx, to, req, m.generate)
	}
	var got llmgateway.Event
	for event, err := range next.Exchange.Answer(t.Context(), next, ask) {
		if err != nil {
			return got, err
		}
		got = event
	}
	return got, nil
}

func callOf(e llmgateway.Event) (name, arguments string) {
	f := gjson.GetBytes(e.Data, "choices.0.message.tool_calls.0.function")
	return f.Get("name").String(), f.Get("arguments").String()
}

func TestCallInTheTextBecomesACall(t *testing.T) {
	m := &scripted{answers: []any{`{"role":"assistant","content":"` + "```json\\n{\\\"name\\\":\\\"click\\\",\\\"input\\\":{\\\"coordinate\\\":[640,480]}}\\n```" + `"}`}}
	got, err := exchanged(t, newAdapter(t, Config{}), taskWith(t, "0"), m)
	if name, arguments := callOf(got); err != nil || name != "computer_click_mouse" || arguments != `{"coordinates":{"x":640,"y":480},"button":"left","clickCount":1}` {
		t.Errorf("got %s, %v", got.Data, err)
	}
	if len(m.asked) != 1 || got.FinishReason != "tool_calls" {
		t.Errorf("asked %d times, finish reason %s", len(m.asked), got.FinishReason)
	}
}

func TestCallsStayAsTheyAreIfSwitchedOff(t *testing.T) {
	message := `{"role":"assistant","content":"<tool_call>{\"name\":\"computer_screenshot\"}</tool_call>"}`
	got, err := exchanged(t, newAdapter(t, Config{KeepCalls: true}), taskWith(t, "0"), &scripted{answers: []any{message}})
	if err != nil || !strings.Contains(string(got.Data), message) {
		t.Errorf("got %s, %v", got.Data, err)
	}
}

func TestModelIsAskedAgainOnceWithWhatIsWrong(t *testing.T) {
	bad := `{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"computer_scroll","arguments":"{\"coordinates\":[1,2],\"direction\":\"sideways\",\"scrollCount\":1}"}}]}`
	good := strings.Replace(bad, "sideways", "down", 1)
	broken := &llmgateway.Error{Kind: llmgateway.Upstream, Message: "broken"}
	for _, tt := range []struct {
		name    string
		answers []any
		want    string // part of the answer
		total   int
	}{
		{"it does better", []any{bad, good}, `\"direction\":\"down\"`, 14},
		{"it does no better", []any{bad, bad}, "sideways", 14},
		{"it fails", []any{bad, broken}, "sideways", 7},
		{"it said nothing", []any{`{"role":"assistant","content":""}`, good}, `\"direction\":\"down\"`, 14},
		{"it says nothing then", []any{bad, `{"role":"assistant","content":" "}`}, "sideways", 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &scripted{answers: tt.answers}
			got, err := exchanged(t, newAdapter(t, Config{}), taskWith(t, "0"), m)
			if err != nil || !strings.Contains(string(got.Data), tt.want) || len(m.asked) != 2 {
				t.Fatalf("got %s, %v, asked %d times", got.Data, err, len(m.asked))
			}
			if got.Usage.TotalTokens != tt.total {
				t.Errorf("got %d tokens, want %d", got.Usage.TotalTokens, tt.total)
			}
			if tt.answers[0] == bad && !strings.Contains(m.asked[1], `must be one of \"up\", \"down\", \"left\", \"right\"`) {
				t.Errorf("the model is not told what is wrong: %s", m.asked[1])
			}
		})
	}
}

// The agent would carry such a call out without its arguments.
func TestCallThatIsCutOffTwiceIsNotCarriedOut(t *testing.T) {
	cut := `{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"computer_type_text","arguments":"{\"text\":\"hel"}}]}`
	got, err := exchanged(t, newAdapter(t, Config{}), taskWith(t, "0"), &scripted{answers: []any{cut, cut}})
	if name, _ := callOf(got); err != nil || name != "" || !strings.Contains(string(got.Data), "cannot be read") {
		t.Errorf("got %s, %v", got.Data, err)
	}
}

func TestEmptyAnswersAreAnError(t *testing.T) {
	m := &scripted{answers: []any{`{"role":"assistant","content":null}`, `{"role":"assistant","content":""}`}}
	_, err := exchanged(t, newAdapter(t, Config{}), taskWith(t, "0"), m)
	if e := llmgateway.AsError(err); err == nil || e.Kind != llmgateway.Upstream {
		t.Errorf("got %v", err)
	}
}

func TestContentInPartsBecomesText(t *testing.T) {
	got, err := exchanged(t, newAdapter(t, Config{}), taskWith(t, "0"), &scripted{answers: []any{`{"role":"assistant","content":[{"type":"text","text":"one"},{"type":"text","text":"two"}]}`}})
	if text := gjson.GetBytes(got.Data, "choices.0.message.content"); err != nil || text.Str != "one\n\ntwo" {
		t.Errorf("got %s, %v", got.Data, err)
	}
}

func TestStreamGetsItsCallsToo(t *testing.T) {
	m := func(_ context.Context, _ *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
		return func(yield func(llmgateway.Event, error) bool) {
			for _, delta := range []string{`{"role":"assistant"}`, `{"content":"<tool_call>{\"name\":\"screenshot\","}`, `{"content":"\"arguments\":{}}</tool_call>"}`} {
				if !yield(llmgateway.Event{Data: []byte(`{"choices":[{"index":0,"delta":` + delta + `,"finish_reason":null}]}`), Carries: true}, nil) {
					return
				}
			}
			yield(llmgateway.Event{Data: []byte(`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`), Carries: true, FinishReason: "stop"}, nil)
		}
	}
	req := taskWith(t, "")
	req.Stream, req.ClientStream = true, true
	next, err := newAdapter(t, Config{}).Adapt(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	for event, err := range openai.Merge(next.Exchange.Attempt(t.Context(), llmgateway.Destination{}, next, m)) {
		if name, _ := callOf(event); err != nil || name != "computer_screenshot" {
			t.Errorf("got %s, %v", event.Data, err)
		}
	}
}
