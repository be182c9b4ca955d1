package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestMergeMakesTheWholeAnswer(t *testing.T) {
	tests := []struct {
		name   string
		chunks string // one in a line
		want   string
	}{
		{
			"text",
			`{"id":"x","object":"chat.completion.chunk","created":1735689600,"model":"m","system_fingerprint":"f","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}
			{"id":"x","object":"chat.completion.chunk","created":1735689600,"model":"m","system_fingerprint":"f","choices":[{"index":0,"delta":{"content":"Hel"},"logprobs":null,"finish_reason":null}]}
			{"id":"x","object":"chat.completion.chunk","created":1735689600,"model":"m","system_fingerprint":"f","choices":[{"index":0,"delta":{"content":"lo \ud83d\udc27<&>\u0000"},"logprobs":null,"finish_reason":null}]}
			{"id":"x","object":"chat.completion.chunk","created":1735689600,"model":"m","system_fingerprint":"f","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}
			{"id":"x","object":"chat.completion.chunk","created":1735689600,"model":"m","system_fingerprint":"f","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":4}}}`,
			`{"id":"x","object":"chat.completion","created":1735689600,"model":"m","system_fingerprint":"f","choices":[{"index":0,"message":{"role":"assistant","content":"Hello 🐧<&>\u0000"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":4}}}`,
		},
		{
			"role, id and type in every chunk",
			`{"choices":[{"index":0,"delta":{"role":"assistant","content":"a"}}]}
			{"choices":[{"index":0,"delta":{"role":"assistant","content":"b","tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\""}}]}}]}
			{"choices":[{"index":0,"delta":{"role":"assistant","content":"","tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f","arguments":":1}"}}]}}]}
			{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"tool_calls"}]}`,
			`{"choices":[{"index":0,"message":{"role":"assistant","content":"ab","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},"finish_reason":"tool_calls"}]}`,
		},
		{
			"parallel tool calls in pieces",
			`{"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}
			{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f","arguments":""}}]}}]}
			{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"c2","type":"function","function":{"name":"g","arguments":""}}]}}]}
			{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"{\"b\":"}},{"index":0,"function":{"arguments":"{\"a\":"}}]}}]}
			{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":null,"function":{"name":null,"arguments":"1}"}}]}}]}
			{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"","function":{"name":"","arguments":"2}"}}]}}]}
			{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`,
			`{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"c2","type":"function","function":{"name":"g","arguments":"{\"b\":2}"}}]},"finish_reason":"tool_calls"}]}`,
		},
		{
			"tool calls that come out of order",
			`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"c2","function":{"name":"g","arguments":"{}"}}]}}]}
			{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":"{}"}}]}}]}`,
			`{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"c1","function":{"name":"f","arguments":"{}"}},{"id":"c2","function":{"name":"g","arguments":"{}"}}]}}]}`,
		},
		{
			"tool calls counted from one",
			`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"c1","function":{"name":"f","arguments":"{"}}]}}]}
			{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"}"}},{"index":2,"id":"c2","function":{"name":"g","arguments":"{}"}}]}}]}`,
			`{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"c1","function":{"name":"f","arguments":"{}"}},{"id":"c2","function":{"name":"g","arguments":"{}"}}]}}]}`,
		},
		{
			"tool calls that share an index",
			`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":"{\"a\":1}"}}]}}]}
			{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c2","function":{"name":"g","arguments":"{\"b\""}}]}}]}
			{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":2}"}}]}}]}`,
			`{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"c1","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"c2","function":{"name":"g","arguments":"{\"b\":2}"}}]}}]}`,
		},
		{
			"a tool call with a new id in every piece",
			`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f"}}]}}]}
			{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c2","type":"function","function":{"arguments":"{\"a\":"}}]}}]}
			{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c3","type":"function","function":{"arguments":"1}"}}]}}]}`,
			`{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}}]}`,
		},
		{
			"whole tool calls without an index",
			`{"choices":[{"index":0,"delta":{"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]}}]}
			{"choices":[{"index":0,"delta":{"tool_calls":[{"id":"c2","type":"function","function":{"name":"g","arguments":"{}"}}]}}]}`,
			`{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"c2","type":"function","function":{"name":"g","arguments":"{}"}}]}}]}`,
		},
		{
			"tool calls in pieces without an index",
			`{"choices":[{"index":0,"delta":{"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\""}}]}}]}
			{"choices":[{"index":0,"delta":{"tool_calls":[{"function":{"arguments":":1}"}}]}}]}
			{"choices":[{"index":0,"delta":{"tool_calls":[{"id":"c2","type":"function","function":{"name":"g","arguments":"{"}}]}}]}
			{"choices":[{"index":0,"delta":{"tool_calls":[{"id":"c2","function":{"arguments":"}"}}]}}]}`,
			`{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"c2","type":"function","function":{"name":"g","arguments":"{}"}}]}}]}`,
		},
		{
			"function call of the old kind",
			`{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"function_call":{"name":"f","arguments":""}}}]}
			{"choices":[{"index":0,"delta":{"function_call":{"arguments":"{\"a\":1"}}}]}
			{"choices":[{"index":0,"delta":{"function_call":{"arguments":"}"}},"finish_reason":"function_call"}]}`,
			`{"choices":[{"index":0,"message":{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{\"a\":1}"}},"finish_reason":"function_call"}]}`,
		},
		{
			"reasoning",
			`{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"reasoning_content":"Let "}}]}
			{"choices":[{"index":0,"delta":{"reasoning_content":"me think."}}]}
			{"choices":[{"index":0,"delta":{"content":"42"},"finish_reason":"stop"}]}`,
			`{"choices":[{"index":0,"message":{"role":"assistant","content":"42","reasoning_content":"Let me think."},"finish_reason":"stop"}]}`,
		},
		{
			"OpenRouter's reasoning",
			`{"provider":"P","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning":"a","reasoning_details":[{"type":"reasoning.text","text":"a","format":"f1","index":0}]},"finish_reason":null,"native_finish_reason":null}]}
			{"provider":"P","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning":"b","reasoning_details":[{"type":"reasoning.text","text":"b","format":"f1","index":0}]},"finish_reason":null,"native_finish_reason":null}]}
			{"provider":"P","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning":null,"reasoning_details":[{"type":"reasoning.text","signature":"s","format":"f1","index":0}]},"finish_reason":"stop","native_finish_reason":"end_turn"}]}
			{"provider":"P","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"stop","native_finish_reason":"end_turn"}]}`,
			`{"provider":"P","choices":[{"index":0,"message":{"role":"assistant","content":"","reasoning":"ab","reasoning_details":[{"type":"reasoning.text","text":"ab","signature":"s","format":"f1","index":0}]},"finish_reason":"stop","native_finish_reason":"end_turn"}]}`,
		},
		{
			"refusal",
			`{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"refusal":""}}]}
			{"choices":[{"index":0,"delta":{"refusal":"I can"}}]}
			{"choices":[{"index":0,"delta":{"refusal":"not."},"finish_reason":"stop"}]}`,
			`{"choices":[{"index":0,"message":{"role":"assistant","content":null,"refusal":"I cannot."},"finish_reason":"stop"}]}`,
		},
		{
			"logprobs",
			`{"choices":[{"index":0,"delta":{"role":"assistant","content":"a"},"logprobs":{"content":[{"token":"a","logprob":-0.10000000000000000555,"bytes":[97],"top_logprobs":[{"token":"a","logprob":-0.1}]}],"refusal":null}}]}
			{"choices":[{"index":0,"delta":{"content":"b"},"logprobs":{"content":[{"token":"b","logprob":-1e-7,"bytes":[98],"top_logprobs":[]}],"refusal":null}}]}
			{"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}`,
			`{"choices":[{"index":0,"message":{"role":"assistant","content":"ab"},"logprobs":{"content":[{"token":"a","logprob":-0.10000000000000000555,"bytes":[97],"top_logprobs":[{"token":"a","logprob":-0.1}]},{"token":"b","logprob":-1e-7,"bytes":[98],"top_logprobs":[]}],"refusal":null},"finish_reason":"stop"}]}`,
		},
		{
			"two choices, mixed",
			`{"choices":[{"index":1,"delta":{"role":"assistant","content":"x"}}]}
			{"choices":[{"index":0,"delta":{"role":"assistant","content":"a"}}]}
			{"choices":[{"index":0,"delta":{"content":"b"}},{"index":1,"delta":{"content":"y"}}]}
			{"choices":[{"index":1,"delta":{},"finish_reason":"length"}]}
			{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`,
			`{"choices":[{"index":0,"message":{"role":"assistant","content":"ab"},"finish_reason":"stop"},{"index":1,"message":{"role":"assistant","content":"xy"},"finish_reason":"length"}]}`,
		},
		{
			"eleven choices",
			`{"choices":[{"index":10,"delta":{"content":"k"}},{"index":9,"delta":{"content":"j"}},{"index":2,"delta":{"content":"c"}}]}`,
			`{"choices":[{"index":2,"message":{"role":"assistant","content":"c"}},{"index":9,"message":{"role":"assistant","content":"j"}},{"index":10,"message":{"role":"assistant","content":"k"}}]}`,
		},
		{
			"completion",
			`{"id":"c","object":"text_completion","choices":[{"text":"Once","index":0,"logprobs":{"tokens":["On","ce"],"token_logprobs":[-1.5,-0.5],"top_logprobs":null,"text_offset":[0,2]},"finish_reason":null}]}
			{"id":"c","object":"text_completion","choices":[{"text":" more","index":0,"logprobs":{"tokens":[" more"],"token_logprobs":[-0.25],"top_logprobs":null,"text_offset":[4]},"finish_reason":"length"}]}
			{"id":"c","object":"text_completion","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":3,"total_tokens":4}}`,
			`{"id":"c","object":"text_completion","choices":[{"text":"Once more","index":0,"logprobs":{"tokens":["On","ce"," more"],"token_logprobs":[-1.5,-0.5,-0.25],"top_logprobs":null,"text_offset":[0,2,4]},"finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":3,"total_tokens":4}}`,
		},
		{
			"usage in every chunk",
			`{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}
			{"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}
			{"choices":[],"usage":null}`,
			`{"choices":[{"index":0,"message":{"role":"assistant","content":"ab"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}`,
		},
		{
			"numbers keep their digits",
			`{"created":12345678901234567890,"x":1e400,"choices":[{"index":0,"delta":{"content":"a"},"seed":9007199254740993}],"timings":{"ms":0.1000000000000000055511151231257827}}`,
			`{"created":12345678901234567890,"x":1e400,"choices":[{"index":0,"message":{"role":"assistant","content":"a"},"seed":9007199254740993}],"timings":{"ms":0.1000000000000000055511151231257827}}`,
		},
		{
			"what a service says of a choice in every chunk",
			`{"choices":[{"index":0,"delta":{"content":"a"},"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}},"stop_reason":null}]}
			{"choices":[{"index":0,"delta":{"content":"b"},"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}},"stop_reason":"END","finish_reason":"stop"}]}
			{"choices":[{"index":0,"delta":{},"content_filter_results":{}}]}`,
			`{"choices":[{"index":0,"message":{"role":"assistant","content":"ab"},"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}},"stop_reason":"END","finish_reason":"stop"}]}`,
		},
		{
			"members of the answer itself",
			`{"id":"x","citations":["a"],"search_results":[{"url":"u"}],"choices":[{"index":0,"delta":{"content":"a"}}]}
			{"id":"x","citations":["a","b"],"search_results":null,"service_tier":"default","choices":[{"index":0,"delta":{"content":"b"}}]}`,
			`{"id":"x","citations":["a","b"],"search_results":[{"url":"u"}],"service_tier":"default","choices":[{"index":0,"message":{"role":"assistant","content":"ab"}}]}`,
		},
		{
			"annotations and audio",
			`{"choices":[{"index":0,"delta":{"content":"a","annotations":[{"type":"url_citation","url_citation":{"url":"u","start_index":0}}],"audio":{"id":"au","transcript":"he"}}}]}
			{"choices":[{"index":0,"delta":{"annotations":[{"type":"url_citation","url_citation":{"url":"v","start_index":1}}],"audio":{"transcript":"y","data":"UklG"}}}]}
			{"choices":[{"index":0,"delta":{"audio":{"data":"Rg==","expires_at":1}}}]}`,
			`{"choices":[{"index":0,"message":{"role":"assistant","content":"a","annotations":[{"type":"url_citation","url_citation":{"url":"u","start_index":0}},{"type":"url_citation","url_citation":{"url":"v","start_index":1}}],"audio":{"id":"au","transcript":"hey","data":"UklGRg==","expires_at":1}}}]}`,
		},
		{
			"a choice that only finishes",
			`{"object":"chat.completion.chunk","choices":[{"index":0,"finish_reason":"stop"}]}`,
			`{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":""},"finish_reason":"stop"}]}`,
		},
		{
			"an answer of no words",
			`{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"refusal":null}}]}
			{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`,
			`{"choices":[{"index":0,"message":{"role":"assistant","content":"","refusal":null},"finish_reason":"stop"}]}`,
		},
		{
			"a delta that is null",
			`{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"}}]}
			{"object":"chat.completion.chunk","choices":[{"index":0,"delta":null,"finish_reason":"stop"}]}`,
			`{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}]}`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var events []llmgateway.Event
			for line := range strings.Lines(test.chunks) {
				events = append(events, chunkEvent(t, strings.TrimSpace(line)))
			}
			got, err := mergeAll(events, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !sameJSON(t, got.Data, []byte(test.want)) {
				t.Errorf("got  %s\nwant %s", got.Data, test.want)
			}
			if !got.Whole || !got.Carries {
				t.Errorf("got %+v, want a whole answer", got)
			}
		})
	}
}

func TestMergeTellsFinishReasonAndUsage(t *testing.T) {
	got, err := mergeAll([]llmgateway.Event{
		chunkEvent(t, `{"choices":[{"index":0,"delta":{"content":"a"}}]}`),
		chunkEvent(t, `{"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}`),
		chunkEvent(t, `{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}`),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := (llmgateway.Usage{PromptTokens: 3, CompletionTokens: 4, TotalTokens: 7}); got.FinishReason != "length" || got.Usage == nil || *got.Usage != want {
		t.Errorf("got %q, %+v", got.FinishReason, got.Usage)
	}
}

func TestMergeYieldsNothingOfABrokenStream(t *testing.T) {
	broken := errors.New("broken")
	got, err := mergeAll([]llmgateway.Event{chunkEvent(t, `{"choices":[{"index":0,"delta":{"content":"a"}}]}`)}, broken)
	if !errors.Is(err, broken) || got.Data != nil {
		t.Errorf("got %s, %v; want nothing and the stream's error", got.Data, err)
	}
}

func TestMergeTakesAStreamThatCarriesNothingForNoAnswer(t *testing.T) {
	for name, events := range map[string][]llmgateway.Event{
		"no event":   nil,
		"role alone": {chunkEvent(t, `{"choices":[{"index":0,"delta":{"role":"assistant"}}]}`)},
		"usage":      {chunkEvent(t, `{"choices":[],"usage":{}}`)},
	} {
		got, err := mergeAll(events, nil)
		if err == nil || llmgateway.AsError(err).Kind != llmgateway.Upstream || got.Data != nil {
			t.Errorf("%s: got %s, %v; want an error of the provider", name, got.Data, err)
		}
	}
}

// FuzzMerge merges any two chunks: it must make valid JSON of them, or say what is wrong.
func FuzzMerge(f *testing.F) {
	for i, test := range chunks {
		f.Add([]byte(test.chunk), []byte(chunks[(i+1)%len(chunks)].chunk))
	}
	for _, odd := range []string{`[1]`, `["x"]`, `[null]`, `[[]]`, `[{"index":1},{"index":"1"},{"index":1.0},{"index":1e400}]`, `{"a":1}`, `[{"delta":[1]},{"delta":"x"}]`, `[{"delta":{"tool_calls":[1,null,"x",{"index":0,"id":1},{"index":0,"id":"a"}]}}]`, `[{"delta":{"tool_calls":{"a":1}},"message":{"content":1}}]`} {
		f.Add([]byte(`{"choices":`+odd+`}`), []byte(`{"choices":`+odd+`,"object":1}`))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		in := newInspector(llmgateway.Chat)
		var events []llmgateway.Event
		for _, chunk := range [][]byte{first, second, first} {
			event, err := in.inspect(chunk, false)
			if err != nil {
				return
			}
			events = append(events, event)
		}
		got, err := mergeAll(events, nil)
		if err != nil {
			return
		}
		if !json.Valid(got.Data) {
			t.Fatalf("%s and %s became %s", first, second, got.Data)
		}
		if utf8.Valid(first) && utf8.Valid(second) && !utf8.Valid(got.Data) {
			t.Errorf("%s and %s became %q", first, second, got.Data)
		}
	})
}

// FuzzMergeOfPieces cuts an answer's text and arguments anywhere: the merged answer is always the same.
func FuzzMergeOfPieces(f *testing.F) {
	f.Add("Hello, world", `{"a":"b"}`, uint8(3), uint8(4))
	f.Add("🐧è\x00\"\\\n", "", uint8(1), uint8(1))
	f.Fuzz(func(t *testing.T, content, arguments string, every, other uint8) {
		if !utf8.ValidString(content) || !utf8.ValidString(arguments) {
			return
		}
		events := []llmgateway.Event{chunkEvent(t, `{"choices":[{"index":0,"delta":{"role":"assistant","content":"","tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":""}}]}}]}`)}
		for _, piece := range cut(content, every) {
			events = append(events, chunkEvent(t, `{"choices":[{"index":0,"delta":{"content":`+piece+`}}]}`))
		}
		for _, piece := range cut(arguments, other) {
			events = append(events, chunkEvent(t, `{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":`+piece+`}}]}}]}`))
		}
		events = append(events, chunkEvent(t, `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`))
		got, err := mergeAll(events, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := `{"choices":[{"index":0,"message":{"role":"assistant","content":` + string(quote(content)) +
			`,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":` + string(quote(arguments)) + `}}]},"finish_reason":"stop"}]}`
		if !sameJSON(t, got.Data, []byte(want)) {
			t.Errorf("got  %s\nwant %s", got.Data, want)
		}
	})
}

// cut returns a string in quoted pieces of so many characters.
func cut(s string, every uint8) (pieces []string) {
	runes := []rune(s)
	for len(runes) > 0 {
		n := min(int(every)+1, len(runes))
		pieces = append(pieces, string(quote(string(runes[:n]))))
		runes = runes[n:]
	}
	return pieces
}

// chunkEvent returns the event of a chunk.
func chunkEvent(t *testing.T, chunk string) llmgateway.Event {
	t.Helper()
	event, err := newInspector(llmgateway.Chat).inspect([]byte(chunk), false)
	if err != nil {
		t.Fatalf("%s: %v", chunk, err)
	}
	return event
}

// mergeAll merges events that err ends. Like those of a provider, they do not last longer than their round of the loop.
func mergeAll(events []llmgateway.Event, err error) (merged llmgateway.Event, failed error) {
	chunks := func(yield func(llmgateway.Event, error) bool) {
		var buf []byte
		for _, event := range events {
			buf = append(buf[:0], event.Data...)
			event.Data = buf
			if !yield(event, nil) {
				return
			}
			for i := range buf {
				buf[i] = '!'
			}
		}
		if err != nil {
			yield(llmgateway.Event{}, err)
		}
	}
	n := 0
	for event, err := range Merge(iter.Seq2[llmgateway.Event, error](chunks)) {
		n++
		merged, failed = event, err
	}
	if n != 1 && failed == nil {
		failed = errors.New("not one event")
	}
	return merged, failed
}

// sameJSON reports whether two documents are equal but for the order of members and white space. Numbers are compared by
// their digits.
func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var decoded [2]any
	for i, doc := range [][]byte{a, b} {
		d := json.NewDecoder(bytes.NewReader(doc))
		d.UseNumber()
		if err := d.Decode(&decoded[i]); err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
	}
	return reflect.DeepEqual(decoded[0], decoded[1])
}
