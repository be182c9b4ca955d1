package dialect_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/dialect"
)

// told is what a listener was told of one block.
type told struct {
	Kind           dialect.Kind
	ID, Name, Text string
	Ended          bool
}

// listener keeps what it is told, and complains of what comes out of order.
type listener struct {
	t      *testing.T
	blocks []told
}

func (l *listener) Begin(b *dialect.Block) {
	if n := len(l.blocks); n != b.Index || n > 0 && !l.blocks[n-1].Ended {
		l.t.Errorf("block %d begins after %+v", b.Index, l.blocks)
	}
	l.blocks = append(l.blocks, told{Kind: b.Kind, ID: b.ID, Name: b.Name})
}

func (l *listener) Add(b *dialect.Block, piece string) {
	if b.Index != len(l.blocks)-1 || piece == "" {
		l.t.Errorf("block %d is told %q after %d blocks", b.Index, piece, len(l.blocks))
		return
	}
	l.blocks[b.Index].Text += piece
}

func (l *listener) End(b *dialect.Block) {
	last := &l.blocks[len(l.blocks)-1]
	if last.Ended || last.Text != b.Text() {
		l.t.Errorf("block %d ends with %q, was told %+v", b.Index, b.Text(), last)
	}
	last.Ended = true
}

// answer is a message in the making, of random blocks.
type answer struct {
	thought, said string
	calls         []told
}

func randomAnswer(r *rand.Rand) answer {
	texts := []string{"", "a", "größer", "two\nlines", `"quoted" \ back`, "😀 and more"}
	a := answer{thought: texts[r.IntN(len(texts))], said: texts[r.IntN(len(texts))]}
	for i := range r.IntN(4) {
		arguments := []string{`{}`, `{"a":1}`, `{"text":"} {\"x\" 😀"}`, `{"a":{"b":[1,2]}}`}[r.IntN(4)]
		a.calls = append(a.calls, told{Kind: dialect.Called, ID: fmt.Sprintf("c%d", i), Name: fmt.Sprintf("f%d", i), Text: arguments, Ended: true})
	}
	return a
}

// blocks returns what a listener is to be told.
func (a answer) blocks() []told {
	var blocks []told
	if a.thought != "" {
		blocks = append(blocks, told{Kind: dialect.Thought, Text: a.thought, Ended: true})
	}
	if a.said != "" {
		blocks = append(blocks, told{Kind: dialect.Said, Text: a.said, Ended: true})
	}
	return append(blocks, a.calls...)
}

// chunks returns the deltas of a stream that brings the answer in random pieces. The pieces of calls may be mixed.
func (a answer) chunks(r *rand.Rand) (deltas []map[string]any) {
	for _, piece := range split(r, a.thought) {
		deltas = append(deltas, map[string]any{"reasoning_content": piece})
	}
	for _, piece := range split(r, a.said) {
		deltas = append(deltas, map[string]any{"content": piece})
	}
	var queues [][]map[string]any
	for i, call := range a.calls {
		first := map[string]any{"index": i, "id": call.ID, "type": "function", "function": map[string]any{"name": call.Name}}
		deltas = append(deltas, map[string]any{"tool_calls": []any{first}})
		var queue []map[string]any
		for _, piece := range split(r, call.Text) {
			queue = append(queue, map[string]any{"index": i, "function": map[string]any{"arguments": piece}})
		}
		queues = append(queues, queue)
	}
	for len(queues) > 0 {
		at := r.IntN(len(queues))
		if len(queues[at]) == 0 {
			queues = slices.Delete(queues, at, at+1)
			continue
		}
		deltas = append(deltas, map[string]any{"tool_calls": []any{queues[at][0]}})
		queues[at] = queues[at][1:]
	}
	return deltas
}

// split cuts a text between its characters.
func split(r *rand.Rand, s string) (pieces []string) {
	runes := []rune(s)
	for len(runes) > 0 {
		n := 1 + r.IntN(len(runes))
		pieces = append(pieces, string(runes[:n]))
		runes = runes[n:]
	}
	return pieces
}

func chunk(t *testing.T, member string, message any) []byte {
	t.Helper()
	data, err := json.Marshal(map[string]any{"choices": []any{map[string]any{"index": 0, member: message}}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAnySplitOfAStreamGivesTheSameBlocks(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		a := randomAnswer(r)
		want := a.blocks()
		streamed := &listener{t: t}
		reader := dialect.NewReader(streamed)
		for _, delta := range a.chunks(r) {
			reader.Chunk(chunk(t, "delta", delta))
		}
		reader.End()
		if !slices.Equal(streamed.blocks, want) {
			t.Fatalf("seed %d: got %+v, want %+v", seed, streamed.blocks, want)
		}

		message := map[string]any{"content": a.said, "reasoning_content": a.thought}
		var calls []any
		for _, call := range a.calls {
			calls = append(calls, map[string]any{"id": call.ID, "type": "function", "function": map[string]any{"name": call.Name, "arguments": call.Text}})
		}
		message["tool_calls"] = calls
		whole := &listener{t: t}
		dialect.NewReader(whole).Whole(chunk(t, "message", message))
		if !slices.Equal(whole.blocks, want) {
			t.Fatalf("seed %d: got whole %+v, want %+v", seed, whole.blocks, want)
		}
	}
}

func TestReaderTakesWhatServersSend(t *testing.T) {
	tests := []struct {
		name   string
		chunks []string
		want   []told
	}{
		{"reasoning by its other name", []string{`{"reasoning":"hm"}`, `{"content":"x"}`}, []told{
			{dialect.Thought, "", "", "hm", true}, {dialect.Said, "", "", "x", true},
		}},
		{"content in parts", []string{`{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"x"}]}`}, []told{
			{dialect.Thought, "", "", "hm", true}, {dialect.Said, "", "", "x", true},
		}},
		{"a name that comes late", []string{
			`{"tool_calls":[{"index":0,"id":"c1","function":{"arguments":"{"}}]}`, `{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"}"}}]}`,
		}, []told{{dialect.Called, "c1", "f", "{}", true}}},
		{"arguments that are an object", []string{`{"tool_calls":[{"id":"c1","function":{"name":"f","arguments":{"a":1}}}]}`}, []told{
			{dialect.Called, "c1", "f", `{"a":1}`, true},
		}},
		{"the same index for all calls", []string{
			`{"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":"{}"}}]}`, `{"tool_calls":[{"index":0,"id":"c2","function":{"name":"f","arguments":"{}"}}]}`,
		}, []told{{dialect.Called, "c1", "f", "{}", true}, {dialect.Called, "c2", "f", "{}", true}}},
		{"text behind a call", []string{`{"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":"{}"}}]}`, `{"content":"x"}`}, []told{
			{dialect.Called, "c1", "f", "{}", true}, {dialect.Said, "", "", "x", true},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := &listener{t: t}
			reader := dialect.NewReader(l)
			for _, delta := range test.chunks {
				reader.Chunk([]byte(`{"choices":[{"index":0,"delta":` + delta + `}]}`))
			}
			reader.End()
			if !slices.Equal(l.blocks, test.want) {
				t.Errorf("got %+v, want %+v", l.blocks, test.want)
			}
		})
	}
}
