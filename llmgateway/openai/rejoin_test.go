package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// spoken makes events of deltas, as a provider with that id does. A text that is no JSON is a content; "." ends the answer.
func spoken(id string, deltas ...string) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		in := inspector{operation: llmgateway.Chat, redact: func(s string) string { return s }}
		var buf []byte // events do not last
		for _, delta := range deltas {
			finish := "null"
			switch {
			case delta == ".":
				delta, finish = "{}", `"stop"`
			case !strings.HasPrefix(delta, "{"):
				delta = fmt.Sprintf(`{"content":%s}`, quote(delta))
			}
			chunk := fmt.Sprintf(`{"id":%q,"created":%d,"model":"model-%s","choices":[{"index":0,"delta":%s,"finish_reason":%s}]}`, id, len(id), id, delta, finish)
			buf = append(buf[:0], chunk...)
			if event, err := in.inspect(buf, false); !yield(event, err) || err != nil {
				return
			}
			clear(buf)
		}
		usage := []byte(`{"id":"` + id + `","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}`)
		event, err := in.inspect(usage, false)
		yield(event, err)
	}
}

// follow makes a transcript of what a client got.
func follow(t *testing.T, body string, deltas ...string) *Transcript {
	t.Helper()
	transcript := NewTranscript(streamed(t, body))
	if transcript == nil {
		t.Fatal("there is no transcript")
	}
	for event, err := range spoken("one", deltas...) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Usage == nil { // an answer that breaks has none
			transcript.Follow(event)
		}
	}
	return transcript
}

func streamed(t *testing.T, body string) *llmgateway.Request {
	t.Helper()
	req, err := Read(llmgateway.Chat, llmgateway.NewBody([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

const plainChat = `{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}`

func TestRejoinPassesOnWhatTheClientDoesNotHave(t *testing.T) {
	const begun = "It was a dark and stormy night"
	role := `{"role":"assistant","content":""}`
	tests := []struct {
		name      string
		sent      []string
		again     []string
		continued bool
		want      string // the texts that are passed on, each with a | behind it
		err       string
	}{
		{"same pieces", []string{role, "one ", "two "}, []string{role, "one ", "two ", "three", "."}, false, "three||", ""},
		{"larger pieces", []string{"o", "ne ", "t"}, []string{"one two ", "three", "."}, false, "wo |three||", ""},
		{"smaller pieces", []string{"one two"}, []string{"o", "n", "e", " t", "wo", " three", "."}, false, " three||", ""},
		{"all in one piece", []string{"one "}, []string{"one two three", "."}, false, "two three||", ""},
		{"ends where it broke", []string{"one"}, []string{"on", "e", "."}, false, "|", ""},
		{"other text", []string{"one two"}, []string{"one ", "too", "."}, false, "", "another"},
		{"shorter", []string{"one two"}, []string{"one", "."}, false, "", "another"},
		{"letters of several bytes", []string{"grü", "ß"}, []string{"g", "rüße 🙂", "."}, false, "e 🙂||", ""},
		{"reasoning, then text", []string{`{"reasoning_content":"hm "}`, `{"reasoning_content":"so"}`, "yes"}, []string{`{"reasoning_content":"hm so"}`, "yes, it", "."}, false, ", it||", ""},
		{"reasoning goes on", []string{`{"reasoning_content":"hm"}`}, []string{`{"reasoning_content":"hm so"}`, "yes", "."}, false, "| so|yes||", ""},
		{"other reasoning", []string{`{"reasoning_content":"hm"}`, "yes"}, []string{`{"reasoning_content":"hm so"}`, "yes", "."}, false, "", "another"},
		{"no reasoning now", []string{`{"reasoning_content":"hm"}`, "yes"}, []string{"yes, it", "."}, false, "", "another"},
		{"a tool call behind the text", []string{"let me "}, []string{"let ", "me ", `{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{}"}}]}`, "."}, false, "||", ""},
		{"a tool call too early", []string{"let me see"}, []string{"let ", `{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{}"}}]}`}, false, "", "another"},

		{"continued", []string{begun}, []string{role, ", and", " it rained", "."}, true, ", and| it rained||", ""},
		{"continued with the beginning's first letters", []string{begun}, []string{"It ", "was ", "late", "."}, true, "It was late||", ""},
		{"continued with too few letters to tell", []string{begun}, []string{"It ", "."}, true, "It ||", ""},
		{"repeats instead", []string{begun}, []string{"It was", " a dark and", " stormy"}, true, "", "repeats"},
		{"repeats in one piece", []string{begun}, []string{"It was a dark and stormy night, and"}, true, "", "repeats"},
		{"repeats something short", []string{"Yes"}, []string{"Y", "es, of course"}, true, "", "repeats"},
		{"repeats the space only", []string{begun + " \n"}, []string{" \n", "and", "."}, true, "and||", ""},
		{"repeats a part of the space", []string{begun + "\n\n"}, []string{"\nand", "."}, true, "and||", ""},
		{"more space than was", []string{begun + " "}, []string{"  and", "."}, true, " and||", ""},
		{"thinks anew", []string{begun}, []string{`{"reasoning_content":"hm"}`}, true, "", "thinks"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			transcript := follow(t, plainChat, test.sent...)
			if !transcript.CanResume() {
				t.Fatal("it cannot be resumed")
			}
			var got strings.Builder
			var failed error
			for event, err := range transcript.Rejoin(spoken("other", test.again...), test.continued) {
				if failed = err; err != nil {
					break
				}
				if !json.Valid(event.Data) || gjson.GetBytes(event.Data, "id").Str != "one" {
					t.Errorf("got the chunk %s", event.Data)
				}
				if choice := gjson.GetBytes(event.Data, "choices.0"); choice.Exists() {
					fmt.Fprint(&got, choice.Get("delta.reasoning_content").Str, choice.Get("delta.content").Str, "|")
					if gjson.GetBytes(event.Data, "model").Str != "model-one" || gjson.GetBytes(event.Data, "created").Int() != 3 {
						t.Errorf("got the chunk %s", event.Data)
					}
				}
				transcript.Follow(event)
			}
			if test.err != "" {
				if failed == nil || !errors.Is(failed, ErrDiverged) || !strings.Contains(failed.Error(), test.err) || got.Len() > 0 {
					t.Errorf("got %q, %v, want the error %q", got.String(), failed, test.err)
				}
				return
			}
			if want := strings.TrimPrefix(test.want, "|"); failed != nil || strings.TrimPrefix(got.String(), "|") != want {
				t.Errorf("got %q, %v, want %q", got.String(), failed, want)
			}
		})
	}
}

// However an answer is cut, and into whatever pieces the providers cut it, the client has it once.
func TestRejoinedAnswerIsTheAnswer(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	words := []string{"one ", "zwö ", "\"three\" ", "\\", "🙂", "\n", "<b>", "漢字", "a ", "a "}
	pieces := func(text string) (pieces []string) {
		runes := []rune(text)
		for len(runes) > 0 {
			n := 1 + random.IntN(min(9, len(runes)))
			delta, _ := json.Marshal(map[string]string{"role": "assistant", "content": string(runes[:n])})
			pieces, runes = append(pieces, string(delta)), runes[n:]
		}
		return pieces
	}
	for range 300 {
		text := ""
		for range 2 + random.IntN(30) {
			text += words[random.IntN(len(words))]
		}
		runes := []rune(text)
		cut := string(runes[:1+random.IntN(len(runes)-1)])
		transcript := follow(t, plainChat, pieces(cut)...)
		got := cut
		for event, err := range transcript.Rejoin(spoken("other", append(pieces(text), ".")...), false) {
			if err != nil {
				t.Fatal(err)
			}
			got += gjson.GetBytes(event.Data, "choices.0.delta.content").Str
			transcript.Follow(event)
		}
		if got != text {
			t.Fatalf("got %q, want %q, cut behind %q", got, text, cut)
		}
	}
}

func TestRejoinSumsTheUsage(t *testing.T) {
	type chunk struct{ delta, usage string }
	say := func(chunks ...chunk) iter.Seq2[llmgateway.Event, error] {
		return func(yield func(llmgateway.Event, error) bool) {
			in := inspector{operation: llmgateway.Chat}
			for _, c := range chunks {
				finish := "null"
				if c.delta == "." {
					c.delta, finish = "", `"stop"`
				}
				event, err := in.inspect(fmt.Appendf(nil, `{"id":"x","choices":[{"index":0,"delta":{"content":%q},"finish_reason":%s}],"usage":%s}`, c.delta, finish, c.usage), false)
				if !yield(event, err) || err != nil {
					return
				}
			}
			yield(llmgateway.Event{}, errors.New("it breaks"))
		}
	}
	const none = "null"
	tokens := func(prompt, completion int, more string) string {
		return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d%s}`, prompt, completion, prompt+completion, more)
	}
	for _, test := range []struct {
		name      string
		parts     [][]chunk
		continued bool
		want      string
	}{
		{
			"the first told nothing", [][]chunk{
				{{"one ", none}, {"two ", none}, {"three ", none}},
				{{"one two ", none}, {"three four", none}, {".", tokens(5, 7, "")}},
			}, false, tokens(10, 10, ""),
		},
		{
			"both told", [][]chunk{
				{{"one ", tokens(6, 2, "")}, {"two ", tokens(6, 4, "")}},
				{{"one two ", none}, {"three", none}, {".", tokens(5, 7, "")}},
			}, false, tokens(11, 11, ""),
		},
		{
			"three, each telling all the time", [][]chunk{
				{{"one ", tokens(5, 1, "")}, {"two ", tokens(5, 2, "")}},
				{{"one ", tokens(5, 1, "")}, {"two ", tokens(5, 2, "")}, {"three ", tokens(5, 3, "")}},
				{{"one two three ", tokens(5, 3, "")}, {".", tokens(5, 4, "")}},
			}, false, tokens(15, 9, ""),
		},
		{
			"the second goes on", [][]chunk{
				{{"one ", none}, {"two ", none}, {"three ", none}},
				{{"four", none}, {".", tokens(23, 2, "")}},
			}, true, tokens(43, 5, ""),
		},
		{
			"both tell the cost", [][]chunk{
				{{"one ", tokens(5, 1, `,"cost":0.25`)}},
				{{"one two", none}, {".", tokens(5, 2, `,"cost":0.5`)}},
			}, false, tokens(10, 3, `,"cost":0.75`),
		},
		{
			"one tells the cost", [][]chunk{
				{{"one ", none}},
				{{"one two", none}, {".", tokens(5, 2, `,"cost":0.5`)}},
			}, false, tokens(10, 3, `,"cost":null`),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			transcript := NewTranscript(streamed(t, plainChat))
			var last llmgateway.Event
			for i, part := range test.parts {
				events := say(part...)
				if i > 0 {
					events = transcript.Rejoin(events, test.continued)
				}
				for event, err := range events {
					if err == nil {
						transcript.Follow(event)
						last = event
					}
				}
			}
			if got := gjson.GetBytes(last.Data, "usage").Raw; got != test.want {
				t.Errorf("the client gets %s, want %s", got, test.want)
			}
			if want := readUsage([]byte(test.want)); fmt.Sprintf("%+v", *last.Usage) != fmt.Sprintf("%+v", *want) &&
				(want.Cost == nil || *want.Cost != *last.Usage.Cost) {
				t.Errorf("the event has %+v, want %+v", *last.Usage, *want)
			}
		})
	}
}

func TestWhatCannotBeResumed(t *testing.T) {
	for _, body := range []string{
		`{"model":"m","messages":[]}`, `{"model":"m","stream":true,"n":2}`, `{"model":"m","stream":true,"logprobs":true}`,
	} {
		if NewTranscript(streamed(t, body)) != nil {
			t.Errorf("there is a transcript for %s", body)
		}
	}
	for name, deltas := range map[string][]string{
		"half a tool call": {"let me", `{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{\"a\":"}}]}`},
		"a refusal":        {`{"refusal":"I will not"}`},
		"sound":            {"a", `{"audio":{"data":"AAAA"}}`},
		"a finished one":   {"a", "."},
		"nothing":          {`{"role":"assistant","content":""}`},
	} {
		if follow(t, plainChat, deltas...).CanResume() {
			t.Errorf("%s can be resumed", name)
		}
	}
}

func TestContinuationEndsWithWhatWasSaid(t *testing.T) {
	tests := []struct {
		name, body string
		said       []string
		want       string // the body that is sent, or empty if there is none
	}{
		{
			"plain", `{"model":"m", "stream":true, "stream_options":{"include_usage":true}, "messages":[ {"role":"user","content":"hi"} ], "seed":1}`,
			[]string{"It ", "\"was\" "},
			`{"model":"m","continue_final_message":true,"add_generation_prompt":false, "stream":true, "stream_options":{"include_usage":true}, "messages":[ {"role":"user","content":"hi"} ,{"role":"assistant","content":"It \"was\""}], "seed":1}`,
		},
		{
			"bounded", `{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user"}],"max_tokens":10,"max_completion_tokens":2}`,
			[]string{"It ", "was ", "a"},
			`{"model":"m","continue_final_message":true,"add_generation_prompt":false,"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user"},{"role":"assistant","content":"It was a"}],"max_tokens":7,"max_completion_tokens":1}`,
		},
		{
			"said by the client already", `{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user"}],"add_generation_prompt":true}`,
			[]string{"It"},
			`{"model":"m","continue_final_message":true,"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user"},{"role":"assistant","content":"It"}],"add_generation_prompt":false}`,
		},
		{"only space", plainChat, []string{" \n"}, ""},
		{"still thinking", plainChat, []string{`{"reasoning_content":"hm"}`}, ""},
		{"thought first", plainChat, []string{`{"reasoning":"hm"}`, "yes"}, ""},
		{"with a format", `{"model":"m","stream":true,"response_format":{"type":"json_object"},"messages":[{"role":"user"}]}`, []string{`{"content":"{"}`}, ""},
		{"begun by the client", `{"model":"m","stream":true,"messages":[{"role":"user"},{"role":"assistant","content":"It"}]}`, []string{" was"}, ""},
		{"no messages", `{"model":"m","stream":true,"messages":[]}`, []string{"It"}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req, ok := follow(t, test.body, test.said...).Continuation()
			if !ok {
				req = nil
			}
			got := ""
			if req != nil {
				segments, _ := splice(req)
				got = string(bytes.Join(segments, nil))
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}
