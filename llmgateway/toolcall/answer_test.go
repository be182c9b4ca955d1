package toolcall

import (
	"encoding/json"
	"errors"
	"iter"
	"reflect"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// message returns a whole answer with a message.
func message(message, reason string) string {
	return ` {"id":"a", "object":"chat.completion","choices":[{"index":0,"message":` + message + `,"finish_reason":` + quote(reason) + `, "logprobs":null}], "usage":{"total_tokens":1.0}}`
}

func TestAnswerThatIsRightPassesByteForByte(t *testing.T) {
	r := Repairer{Tools: desktop(t)}
	for name, answer := range map[string]string{
		"text":      message(`{"role":"assistant","content":"Hello \u00e9, {x} <b>."}`, "stop"),
		"no text":   message(`{"role":"assistant","content":null}`, "stop"),
		"a call":    message(`{"role":"assistant", "content" : null,"tool_calls":[{ "id":"c1","type":"function","function":{"name":"computer_screenshot","arguments":"{ }"},"extra":1}]}`, "tool_calls"),
		"reasoning": message(`{"role":"assistant","content":"Hi.","reasoning_content":"<tool_call>{\"name\":\"computer_screenshot\",\"arguments\":{}}</tool_call>"}`, "stop"),
		"custom":    message(`{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"custom","custom":{"name":"sql","input":"select"}}]}`, "tool_calls"),
		"parts":     message(`{"role":"assistant","content":[{"type":"text","text":"hi"}]}`, "stop"),
		"an error":  `{"error":{"message":"no"}}`,
		"empty":     `{}`,
	} {
		got := r.Answer([]byte(answer))
		if string(got.Data) != answer || len(got.Problems) > 0 {
			t.Errorf("%s: got %s, %v\nwant %s", name, got.Data, got.Problems, answer)
		}
	}
	called := message(`{"role":"assistant","content":"<tool_call>{\"name\":\"computer_screenshot\"}</tool_call>"}`, "stop")
	if got := (&Repairer{Tools: &Tools{}}).Answer([]byte(called)); string(got.Data) != called {
		t.Errorf("without tools: got %s", got.Data)
	}
}

func TestAnswerGetsItsCallsMended(t *testing.T) {
	tests := []struct{ name, message, reason, want, wantReason string }{
		{
			"a call in the text", `{"role":"assistant","content":"Looking.\n<tool_call>{\"name\":\"screenshot\",\"arguments\":{}}</tool_call>"}`, "stop",
			`{"role":"assistant","content":"Looking.","tool_calls":[{"id":"ID","type":"function","function":{"name":"computer_screenshot","arguments":"{}"}}]}`, "tool_calls",
		},
		{
			"nothing but a call", `{"content":"<tool_call>{\"name\":\"computer_wait\",\"arguments\":{\"duration\":\"500\"}}</tool_call>","role":"assistant","tool_calls":null}`, "stop",
			`{"content":null,"role":"assistant","tool_calls":[{"id":"ID","type":"function","function":{"name":"computer_wait","arguments":"{\"duration\":500}"}}]}`, "tool_calls",
		},
		{
			"an empty list of calls", `{"content":"{\"name\":\"computer_wait\",\"arguments\":{\"duration\":500}}","tool_calls":[]}`, "stop",
			`{"content":null,"tool_calls":[{"id":"ID","type":"function","function":{"name":"computer_wait","arguments":"{\"duration\":500}"}}]}`, "tool_calls",
		},
		{
			"no type, no id, an object for arguments", `{"content":"","tool_calls":[{"function":{"name":"computer_wait","arguments":{"duration":500}}}]}`, "stop",
			`{"content":"","tool_calls":[{"id":"ID","type":"function","function":{"name":"computer_wait","arguments":"{\"duration\":500}"}}]}`, "tool_calls",
		},
		{
			"ids that repeat", `{"content":null,"tool_calls":[{"id":"x","type":"function","function":{"name":"computer_screenshot","arguments":"{}"}},{"id":"x","type":"function","function":{"name":"computer_screenshot","arguments":"{}"}}]}`, "tool_calls",
			`{"content":null,"tool_calls":[{"id":"x","type":"function","function":{"name":"computer_screenshot","arguments":"{}"}},{"id":"ID","type":"function","function":{"name":"computer_screenshot","arguments":"{}"}}]}`, "tool_calls",
		},
		{
			"an id of an earlier turn", `{"content":null,"tool_calls":[{"id":"taken","type":"function","function":{"name":"computer_screenshot","arguments":"{}"}}]}`, "tool_calls",
			`{"content":null,"tool_calls":[{"id":"ID","type":"function","function":{"name":"computer_screenshot","arguments":"{}"}}]}`, "tool_calls",
		},
		{
			"the older function_call", `{"content":null,"function_call":{"name":"computer_screenshot","arguments":"{}"}}`, "function_call",
			`{"content":null,"function_call":{"name":"computer_screenshot","arguments":"{}"},"tool_calls":[{"id":"ID","type":"function","function":{"name":"computer_screenshot","arguments":"{}"}}]}`, "tool_calls",
		},
		{
			"a wrong finish reason", `{"content":null,"tool_calls":[{"id":"x","type":"function","function":{"name":"computer_screenshot","arguments":""}}]}`, "stop",
			`{"content":null,"tool_calls":[{"id":"x","type":"function","function":{"name":"computer_screenshot","arguments":"{}"}}]}`, "tool_calls",
		},
		{
			"thinking without its first tag", `{"content":"Maybe <tool_call>{\"name\":\"computer_wait\"}</tool_call>?</think><tool_call>{\"name\":\"computer_screenshot\"}</tool_call>"}`, "stop",
			`{"content":"Maybe <tool_call>{\"name\":\"computer_wait\"}</tool_call>?</think>","tool_calls":[{"id":"ID","type":"function","function":{"name":"computer_screenshot","arguments":"{}"}}]}`, "tool_calls",
		},
	}
	r := Repairer{Tools: desktop(t), Taken: func(id string) bool { return id == "taken" }}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := r.Answer([]byte(message(tt.message, tt.reason)))
			if len(got.Problems) > 0 || got.FinishReason != tt.wantReason {
				t.Errorf("got problems %v and finish reason %s, want none and %s", got.Problems, got.FinishReason, tt.wantReason)
			}
			if g, want := withoutIDs(got.Data), message(tt.want, tt.wantReason); g != want {
				t.Errorf("got  %s\nwant %s", g, want)
			}
		})
	}
}

// withoutIDs puts ID for each id that the gateway made.
func withoutIDs(data []byte) string {
	s := string(data)
	for {
		at := strings.Index(s, "call_")
		if at < 0 || len(s) < at+29 || s[at+29] != '"' {
			return s
		}
		s = s[:at] + "ID" + s[at+29:]
	}
}

func TestAnswerTellsWhatCannotBeMended(t *testing.T) {
	r := Repairer{Tools: desktop(t)}
	answer := message(`{"content":null,"tool_calls":[{"id":"x","type":"function","function":{"name":"computer_click_mouse","arguments":"{\"button\":\"both\"}"}}]}`, "tool_calls")
	got := r.Answer([]byte(answer))
	if string(got.Data) != answer || len(got.Problems) != 1 || !strings.Contains(got.Problems[0].Text, `"button" must be one of`) {
		t.Errorf("got %s, %v", got.Data, got.Problems)
	}
}

func TestCallsThatCannotBeReadBecomeTextIfWanted(t *testing.T) {
	const broken, good = `{"id":"a","type":"function","function":{"name":"computer_type_text","arguments":"{\"text\":\"hel"}}`, `{"id":"b","type":"function","function":{"name":"computer_screenshot","arguments":"{}"}}`
	const said = `I called computer_type_text, but its arguments cannot be read: {\"text\":\"hel`
	r := Repairer{Tools: desktop(t), Quote: true}
	for _, tt := range []struct{ calls, want, reason string }{
		{broken, `{"content":"` + said + `","tool_calls":[]}`, "stop"},
		{broken + "," + good, `{"content":"` + said + `","tool_calls":[` + good + `]}`, "tool_calls"},
		{good, `{"content":null,"tool_calls":[` + good + `]}`, "tool_calls"},
		{`null,5,{"function":5}`, `{"content":"I made a call without the name of a tool:","tool_calls":[]}`, "stop"},
	} {
		got := r.Answer([]byte(message(`{"content":null,"tool_calls":[`+tt.calls+`]}`, "tool_calls")))
		if want := message(tt.want, tt.reason); string(got.Data) != want || got.FinishReason != tt.reason {
			t.Errorf("got  %s\nwant %s", got.Data, want)
		}
	}
}

func chunk(delta, reason string) string {
	if reason != "null" {
		reason = quote(reason)
	}
	return `{"id":"a","object":"chat.completion.chunk","choices":[{"index":0,"delta":` + delta + `,"finish_reason":` + reason + `}]}`
}

// streamOf yields chunks, and then err if it is one.
func streamOf(err error, chunks ...string) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		for _, c := range chunks {
			reason := gjson.Get(c, "choices.0.finish_reason").String()
			if !yield(llmgateway.Event{Data: []byte(c), Carries: gjson.Get(c, "choices.0.delta.role").String() == "" || reason != "", FinishReason: reason}, nil) {
				return
			}
		}
		if err != nil {
			yield(llmgateway.Event{}, err)
		}
	}
}

// said returns what a stream says, chunk by chunk.
func said(t *testing.T, events iter.Seq2[llmgateway.Event, error]) (chunks []string, err error) {
	t.Helper()
	for event, err := range events {
		if err != nil {
			return chunks, err
		}
		if !json.Valid(event.Data) {
			t.Fatalf("not JSON: %s", event.Data)
		}
		if reason := gjson.GetBytes(event.Data, "choices.0.finish_reason").String(); reason != event.FinishReason {
			t.Errorf("the event says finish reason %q, its data %q", event.FinishReason, reason)
		}
		chunks = append(chunks, string(event.Data))
	}
	return chunks, nil
}

func TestStreamSaysTheSameAsAWholeAnswer(t *testing.T) {
	r := &Repairer{Tools: desktop(t)}
	for _, tt := range answers {
		for _, size := range []int{1, 3, 7, 1000} {
			for _, reason := range []string{"stop", "null"} {
				chunks := []string{chunk(`{"role":"assistant","content":""}`, "null")}
				for rest := []rune(tt.text); len(rest) > 0; {
					n := min(size, len(rest))
					chunks = append(chunks, chunk(`{"content":`+quote(string(rest[:n]))+`}`, "null"))
					rest = rest[n:]
				}
				if reason == "stop" {
					chunks = append(chunks, chunk(`{}`, reason))
				}
				problems := 0
				var merged []byte
				for event, err := range openai.Merge(r.Stream(streamOf(nil, chunks...), func(Problem) { problems++ })) {
					if err != nil {
						t.Fatalf("%s: %v", tt.name, err)
					}
					merged = event.Data
				}
				got := gjson.GetBytes(merged, "choices.0.message")
				if text := got.Get("content").String(); strings.TrimSpace(text) != strings.TrimSpace(tt.rest) {
					t.Errorf("%s by %d: got text %q, want %q", tt.name, size, text, tt.rest)
				}
				calls, right := readToolCalls(got)
				if !right || len(calls) != len(tt.calls) {
					t.Fatalf("%s by %d: got %s, want calls %+v", tt.name, size, merged, tt.calls)
				}
				whole := r.Answer([]byte(message(`{"content":`+quote(tt.text)+`}`, "stop")))
				wholeCalls, _ := readToolCalls(gjson.GetBytes(whole.Data, "choices.0.message"))
				for i := range calls {
					calls[i].ID, wholeCalls[i].ID = "", ""
				}
				if !reflect.DeepEqual(calls, wholeCalls) || problems != len(whole.Problems) {
					t.Errorf("%s by %d: got %+v and %d problems, whole %+v and %d", tt.name, size, calls, problems, wholeCalls, len(whole.Problems))
				}
			}
		}
	}
}

func TestStreamOfRightCallsPassesByteForByte(t *testing.T) {
	r := &Repairer{Tools: desktop(t)}
	want := []string{
		chunk(`{"role":"assistant","content":null}`, "null"),
		chunk(`{"content":"Looking {x}."}`, "null"),
		chunk(`{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"computer_screenshot","arguments":""}}]}`, "null"),
		chunk(`{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}`, "null"),
		chunk(`{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"computer_wait","arguments":"{\"duration\":500}"}}]}`, "null"),
		chunk(`{}`, "tool_calls"),
		`{"choices":[],"usage":{"total_tokens":3}}`,
	}
	got, err := said(t, r.Stream(streamOf(nil, want...), nil))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
}

func TestStreamGetsItsCallsMended(t *testing.T) {
	r := &Repairer{Tools: desktop(t)}
	got, err := said(t, r.Stream(streamOf(nil,
		chunk(`{"role":"assistant"}`, "null"),
		chunk(`{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"click","arguments":""}}]}`, "null"),
		chunk(`{"tool_calls":[{"index":0,"function":{"arguments":"{\"coordinates\":[\"1\","}}]}`, "null"),
		chunk(`{"tool_calls":[{"index":0,"function":{"arguments":"2]}"}}]}`, "null"),
		chunk(`{}`, "stop"),
	), nil))
	want := []string{
		chunk(`{"role":"assistant"}`, "null"),
		chunk(`{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"computer_click_mouse","arguments":"{\"coordinates\":{\"x\":1,\"y\":2},\"button\":\"left\",\"clickCount\":1}"}}]}`, "null"),
		chunk(`{}`, "tool_calls"),
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
}

func TestStreamThatEndsWithoutADeltaKeepsItsCall(t *testing.T) {
	r := &Repairer{Tools: desktop(t)}
	got, err := said(t, r.Stream(streamOf(nil,
		chunk(`{"content":"<tool_call>{\"name\":\"screenshot\",\"arguments\":{}}"}`, "null"),
		chunk(`null`, "stop"),
	), nil))
	if last := got[len(got)-1]; err != nil || !strings.Contains(last, "computer_screenshot") || !strings.Contains(last, `"finish_reason":"tool_calls"`) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestStreamKeepsCallsOfBothKinds(t *testing.T) {
	r := &Repairer{Tools: desktop(t)}
	got, err := said(t, r.Stream(streamOf(nil,
		chunk(`{"role":"assistant","content":"<tool_call>{\"name\":\"computer_wait\"}</tool_call>"}`, "null"),
		chunk(`{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"computer_screenshot","arguments":"{}"}}]}`, "null"),
		chunk(`{}`, "tool_calls"),
	), nil))
	if all := strings.Join(got, "\n"); err != nil || !strings.Contains(all, `"name":"computer_wait"`) || !strings.Contains(all, `"name":"computer_screenshot"`) {
		t.Errorf("got %s, %v", all, err)
	}
}

func TestStreamThatBreaksGivesWhatItHolds(t *testing.T) {
	r := &Repairer{Tools: desktop(t)}
	broken := errors.New("broken")
	want := []string{
		chunk(`{"role":"assistant"}`, "null"),
		chunk(`{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"click","arguments":"{"}}]}`, "null"),
	}
	got, err := said(t, r.Stream(streamOf(broken, want...), nil))
	if !errors.Is(err, broken) || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(message(`{"content":"<tool_call>{\"name\":\"computer_screenshot\"}</tool_call>"}`, "stop"))
	f.Add(message(`{"content":null,"tool_calls":[{"function":{"name":"click","arguments":{"x":1,"y":2}}}]}`, "stop"))
	f.Add(chunk(`{"content":"<tool_call>"}`, "stop"))
	tools := desktop(f)
	f.Fuzz(func(t *testing.T, answer string) {
		if !json.Valid([]byte(answer)) {
			return
		}
		r := &Repairer{Tools: tools}
		got := r.Answer([]byte(answer))
		if !json.Valid(got.Data) {
			t.Fatalf("got %s", got.Data)
		}
		if again := r.Answer(got.Data); len(got.Problems) == 0 && string(again.Data) != string(got.Data) {
			t.Fatalf("got %s, and then %s", got.Data, again.Data)
		}
		_, _ = said(t, r.Stream(streamOf(nil, answer, answer), nil))
	})
}
