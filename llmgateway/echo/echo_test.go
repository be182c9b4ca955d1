package echo

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// reply is what the tests look at.
type reply struct {
	Object  string
	Model   string
	Choices []struct {
		Text           string
		Message, Delta struct{ Role, Content string }
		FinishReason   *string `json:"finish_reason"`
	}
	Data  []struct{ Embedding []float64 }
	Usage *llmgateway.Usage
}

func TestEchoRepeatsTheLastText(t *testing.T) {
	tests := []struct {
		name      string
		operation llmgateway.Operation
		body      string
		want      string
	}{
		{"chat", llmgateway.Chat, `{"messages":[{"role":"system","content":"be kind"},{"role":"user","content":"one two  three "}]}`, "one two  three "},
		{"parts", llmgateway.Chat, `{"messages":[{"role":"user","content":[{"type":"text","text":"look"},{"type":"image_url","image_url":{"url":"data:,"}},{"type":"text","text":"here"}]}]}`, "look here"},
		{"escapes", llmgateway.Chat, `{"messages":[{"role":"user","content":"\u0000 <\ud83d\udc27> \"x\"\n"}]}`, "\x00 <🐧> \"x\"\n"},
		{"no text", llmgateway.Chat, `{"messages":[{"role":"assistant","content":null}]}`, ""},
		{"no messages", llmgateway.Chat, `{"messages":[]}`, ""},
		{"nothing", llmgateway.Chat, `{}`, ""},
		{"completion", llmgateway.Completion, `{"prompt":"once upon"}`, "once upon"},
		{"completion of several prompts", llmgateway.Completion, `{"prompt":["once","upon"]}`, "once upon"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req := &llmgateway.Request{Operation: test.operation, Model: "m", Body: llmgateway.NewBody([]byte(test.body))}
			events := generate(t, req)
			if len(events) != 1 || !events[0].Whole || !events[0].Carries || events[0].FinishReason != "stop" {
				t.Fatalf("got %+v, want one whole answer", events)
			}
			whole := decode(t, events[0])
			choice := whole.Choices[0]
			if got := choice.Message.Content + choice.Text; got != test.want || whole.Model != "m" || *choice.FinishReason != "stop" {
				t.Errorf("got %q by %s, want %q", got, whole.Model, test.want)
			}

			req.Stream = true
			var streamed strings.Builder
			events = generate(t, req)
			for i, event := range events {
				chunk := decode(t, event)
				streamed.WriteString(chunk.Choices[0].Delta.Content + chunk.Choices[0].Text)
				if last := i == len(events)-1; last != (chunk.Choices[0].FinishReason != nil) || last != (event.FinishReason == "stop") || last != (chunk.Usage != nil) {
					t.Errorf("event %d of %d: %s", i, len(events), event.Data)
				}
			}
			if streamed.String() != test.want {
				t.Errorf("streamed %q, want %q", streamed.String(), test.want)
			}
		})
	}
}

func TestEchoStreamsWordByWord(t *testing.T) {
	events := generate(t, &llmgateway.Request{
		Operation: llmgateway.Chat, Stream: true, Body: llmgateway.NewBody([]byte(`{"messages":[{"content":"one two three"}]}`)),
	})
	if got, want := len(events), 4; got != want {
		t.Errorf("got %d events, want %d", got, want)
	}
	if first := decode(t, events[0]); first.Choices[0].Delta.Role != "assistant" || first.Object != "chat.completion.chunk" {
		t.Errorf("got %s", events[0].Data)
	}
}

func TestEchoEmbedsTheLength(t *testing.T) {
	events := generate(t, &llmgateway.Request{Operation: llmgateway.Embeddings, Model: "m", Body: llmgateway.NewBody([]byte(`{"input":"four"}`))})
	if got := decode(t, events[0]); len(events) != 1 || len(got.Data) != 1 || got.Data[0].Embedding[0] != 4 || got.Usage.TotalTokens != 1 {
		t.Errorf("got %s", events[0].Data)
	}
}

func TestEchoSaysTheSameToTheSame(t *testing.T) {
	req := &llmgateway.Request{Operation: llmgateway.Chat, Model: "m", Stream: true, Body: llmgateway.NewBody([]byte(`{"messages":[{"content":"one two three"}]}`))}
	first, second := generate(t, req), generate(t, req)
	for i := range first {
		if string(first[i].Data) != string(second[i].Data) {
			t.Errorf("event %d: got %s, then %s", i, first[i].Data, second[i].Data)
		}
	}
}

func TestEchoMergedIsTheWholeAnswer(t *testing.T) {
	req := &llmgateway.Request{Operation: llmgateway.Chat, Model: "m", Body: llmgateway.NewBody([]byte(`{"messages":[{"content":"one two three"}]}`))}
	want := generate(t, req)[0]
	req.Stream = true
	for event, err := range openai.Merge(Provider{}.Generate(t.Context(), req)) {
		if err != nil {
			t.Fatal(err)
		}
		var decoded [2]any
		for i, data := range [][]byte{event.Data, want.Data} {
			if err := json.Unmarshal(data, &decoded[i]); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(decoded[0], decoded[1]) {
			t.Errorf("got  %s\nwant %s", event.Data, want.Data)
		}
	}
}

func TestEchoStopsWhenTheClientLeaves(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	n := 0
	for _, err := range (Provider{}).Generate(ctx, &llmgateway.Request{
		Operation: llmgateway.Chat, Stream: true, Body: llmgateway.NewBody([]byte(`{"messages":[{"content":"one two three"}]}`)),
	}) {
		n++
		last = err
		cancel()
	}
	if n != 2 || !errors.Is(last, context.Canceled) {
		t.Errorf("got %d events and %v", n, last)
	}
}

// generate returns the events of an answer.
func generate(t *testing.T, req *llmgateway.Request) (events []llmgateway.Event) {
	t.Helper()
	for event, err := range (Provider{}).Generate(t.Context(), req) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, event)
	}
	return events
}

func decode(t *testing.T, event llmgateway.Event) (a reply) {
	t.Helper()
	if err := json.Unmarshal(event.Data, &a); err != nil {
		t.Fatalf("%s: %v", event.Data, err)
	}
	return a
}
