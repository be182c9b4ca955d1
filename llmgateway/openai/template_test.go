package openai

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// TestTemplateChangesNoEvent compares an inspector that has seen other chunks with one that has not.
func TestTemplateChangesNoEvent(t *testing.T) {
	const (
		chat  = `{"id":"1","choices":[{"index":0,"delta":{"content":%s},"finish_reason":%s}],"usage":%s}`
		tools = `{ "choices" : [ { "delta" : { "content" : null, "tool_calls" : [ { "index" : 0, "function" : { "arguments" : %s } } ] }, "finish_reason" : %s } ], "usage" : %s }`
		text  = `{"choices":[{"text":%s,"finish_reason":%s}],"model":"content","usage":%s}`
		named = `{"choices":[{"delta":{"a\"content":%s,"b":"\"content\":\""},"finish_reason":%s}],"usage":%s}`
	)
	texts := []string{`"a"`, `""`, `"b c"`, `"\n"`, `"\\"`, `"\""`, `"\\\""`, `"x\\"`, `"x","finish_reason":"stop"`, `"x","content":"y"`, `"}`, `"a"b"`, `"\"`, `null`, `{"content":"x"}`, `"é😀"`}
	for _, format := range []string{chat, tools, text, named} {
		in := inspector{redact: strings.Clone}
		for _, reason := range []string{`null`, `""`, `"stop"`} {
			for _, usage := range []string{`null`, `{"total_tokens":3}`, `{}`} {
				for _, text := range append(texts, texts...) {
					for range 2 {
						data := fmt.Appendf(nil, format, text, reason, usage)
						fresh := inspector{redact: strings.Clone, carried: in.carried}
						want, wantErr := fresh.inspect(data, false)
						got, err := in.inspect(data, false)
						if !reflect.DeepEqual(got, want) || (err == nil) != (wantErr == nil) {
							t.Fatalf("%s: got %+v, %v, want %+v, %v", data, got, err, want, wantErr)
						}
					}
				}
			}
		}
	}
}

func TestTemplateMatchesChunksWithAnotherText(t *testing.T) {
	for name, chunk := range map[string]string{
		"content":   chunk,
		"reasoning": `{"choices":[{"delta":{"content":null,"reasoning_content":" word"}}]}`,
		"tool call": `{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":" word"}}]}}]}`,
		"spaces":    `{"choices": [{"delta": {"content": " word"}}]}`,
	} {
		in := inspector{redact: strings.Clone}
		if _, err := in.inspect([]byte(chunk), false); err != nil {
			t.Fatal(err)
		}
		for text, want := range map[string]bool{"": true, "another": true, `line\n`: true, `\\`: false, `\"`: false} {
			if _, got := in.last.text([]byte(strings.Replace(chunk, " word", text, 1))); got != want {
				t.Errorf("%s: %s: got %t, want %t", name, text, got, want)
			}
		}
	}
}

// TestTemplateIsNotLearnedFromTheLastChunks keeps a finish reason and a token count from being repeated or lost.
func TestTemplateIsNotLearnedFromTheLastChunks(t *testing.T) {
	for _, chunk := range []string{
		`{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}`,
		`{"choices":[{"delta":{"content":"x"}}],"usage":{"total_tokens":1}}`,
		`{"choices":[{"delta":{"role":"assistant","content":""}}]}`,
		`{"choices":[{"delta":{"content":"x"}}],"error":{"message":"x"}}`,
	} {
		in := inspector{redact: strings.Clone}
		_, _ = in.inspect([]byte(chunk), false)
		if _, ok := in.last.text([]byte(chunk)); ok {
			t.Errorf("learned from %s", chunk)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add([]byte(chunk), []byte(strings.Replace(chunk, " word", `\\`, 1)))
	f.Add([]byte(`{"content":"a"}`), []byte(`{"content":"a","b":"c"}`))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		in := inspector{redact: strings.Clone, carried: true}
		if _, err := in.inspect(first, false); err != nil {
			return
		}
		fresh := inspector{redact: strings.Clone, carried: true}
		want, wantErr := fresh.inspect(second, false)
		got, err := in.inspect(second, false)
		if !reflect.DeepEqual(got, want) || (err == nil) != (wantErr == nil) {
			t.Fatalf("after %s: %s: got %+v, %v, want %+v, %v", first, second, got, err, want, wantErr)
		}
	})
}
