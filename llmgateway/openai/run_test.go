package openai

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
)

// chunkFormats are chunks with a place for a text. Some bring more than it with every chunk, or have it where texts are
// not put together.
var chunkFormats = []string{
	`{"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":%s},"finish_reason":null}]}`,
	`{"id":"1","choices":[{"index":1,"delta":{"content":%s}}]}`,
	`{"choices":[{"delta":{"content":null,"reasoning_content":%s}}],"created":1.50}`,
	`{"choices":[{"delta":{"role":"assistant","content":%s}}]}`,
	`{"choices":[{"index":0,"text":%s,"logprobs":null}]}`,
	`{"choices":[{"delta":{"tool_calls":[{"index":0,"type":"function","function":{"arguments":%s}}]}}]}`,
	`{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"a","function":{"name":"f","arguments":%s}}]}}]}`,
	`{"choices":[{"delta":{"tool_calls":[{"id":"b","function":{"name":"g","arguments":%s}}]}}]}`,
	`{"choices":[{"delta":{"content":%s,"further":"text"}}]}`,
	`{"choices":[{"delta":{"content":[{"type":"text","text":%s}]}}]}`,
	`{"choices":[{"delta":{"content":%s},"logprobs":{"content":[{"token":"x"}]}}]}`,
	`{"choices":[{"delta":{"further":"x"}}],"content":%s}`,
	`{"choices":[{"delta":{"further":""},"content":%s}]}`,
	`{"choices":[{"delta":{"content":%s,"content":"y"}}]}`,
	`{"choices":[{"delta":{"content":%s}},{"index":1,"delta":{"content":"z"}}]}`,
	`{"choices":[{"delta":{"content":%s}}],"choices":[]}`,
}

// TestRunsChangeNoAnswer merges chunks with and without runs.
func TestRunsChangeNoAnswer(t *testing.T) {
	texts := []string{`""`, `"a"`, `" b"`, `"x"`, `"\n"`, `"\\"`, `"\"q\""`, `"è🐧"`, `"\ud83d\udc27"`, `null`}
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(1, seed))
		with, without := newMerger(), newMerger()
		without.run.unfit = true
		var chunks []string
		for range 1 + random.IntN(4) {
			format := chunkFormats[random.IntN(len(chunkFormats))]
			for range 1 + random.IntN(5) {
				chunk := fmt.Sprintf(format, texts[random.IntN(len(texts))])
				chunks = append(chunks, chunk)
				if err := with.add([]byte(chunk)); err != nil {
					t.Fatal(err)
				}
				if err := without.add([]byte(chunk)); err != nil {
					t.Fatal(err)
				}
			}
		}
		got, err := with.whole()
		if err != nil {
			t.Fatal(err)
		}
		want, err := without.whole()
		if err != nil {
			t.Fatal(err)
		}
		if !sameJSON(t, got, want) {
			t.Fatalf("%q:\ngot  %s\nwant %s", chunks, got, want)
		}
	}
}

// TestRunsAreFoundInUsualStreams fails if the shortcut is not taken any more.
func TestRunsAreFoundInUsualStreams(t *testing.T) {
	for _, format := range chunkFormats[:6] {
		m := newMerger()
		for n := range 10 {
			if err := m.add(fmt.Appendf(nil, format, fmt.Sprintf(`"%d"`, n))); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := string(m.run.pending), "123456789"; got != want {
			t.Errorf("%s: got %q, want %q", format, got, want)
		}
	}
}

func TestRunSaysWhatTheServerBroke(t *testing.T) {
	// An escape that is none is not seen by comparing, but it must not get into the answer.
	m := newMerger()
	for _, text := range []string{`"a"`, `"b\x"`} {
		_ = m.add(fmt.Appendf(nil, chunkFormats[0], text))
	}
	if got, err := m.whole(); err == nil && !json.Valid(got) {
		t.Errorf("got %s", got)
	}
}
