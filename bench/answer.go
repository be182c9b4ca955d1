package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"
)

// answer is what the upstream says: the same text, whole or in chunks.
type answer struct {
	whole  []byte
	chunks [][]byte      // events of a stream, the end marker included
	stream []byte        // all chunks
	pause  time.Duration // between two chunks
}

// newAnswer makes an answer of that many tokens. Around them a stream has a chunk with the role, one with the finish
// reason and one with the usage.
func newAnswer(tokens int) answer {
	words := make([]string, tokens)
	for i := range words {
		words[i] = fmt.Sprintf(" word%d", i)
	}
	usage := fmt.Sprintf(`{"prompt_tokens":1234,"completion_tokens":%d,"total_tokens":%d}`, tokens, 1234+tokens)
	head := `{"id":"chatcmpl-bench","object":"chat.completion%s","created":1750000000,"model":"m","system_fingerprint":"fp_bench","choices":[%s],"usage":%s}`
	a := answer{whole: fmt.Appendf(nil, head, "", fmt.Sprintf(
		`{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}`, strings.Join(words, "")), usage)}
	event := func(choices, usage string) {
		a.chunks = append(a.chunks, fmt.Appendf(nil, "data: "+head+"\n\n", ".chunk", choices, usage))
	}
	event(`{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}`, "null")
	for _, word := range words {
		event(fmt.Sprintf(`{"index":0,"delta":{"content":%q},"finish_reason":null}`, word), "null")
	}
	event(`{"index":0,"delta":{},"finish_reason":"stop"}`, "null")
	event("", usage)
	a.chunks = append(a.chunks, []byte("data: [DONE]\n\n"))
	a.stream = bytes.Join(a.chunks, nil)
	return a
}

// comment matches an event that clients skip, such as the one that tells what an answer cost.
var comment = regexp.MustCompile(`(?m)^: .*\n\n`)

// check compares what a client got. A stream must have arrived byte for byte, but for comments; a whole answer may have been
// put together from chunks and is compared as JSON.
func (a answer) check(got []byte, stream bool) error {
	if stream {
		got = comment.ReplaceAll(got, nil)
		if !bytes.Equal(got, a.stream) {
			return fmt.Errorf("the stream has %d events in %d bytes, sent were %d in %d", bytes.Count(got, []byte("data: ")), len(got), len(a.chunks), len(a.stream))
		}
		return nil
	}
	if bytes.Equal(got, a.whole) {
		return nil
	}
	var is, want any
	if err := json.Unmarshal(got, &is); err != nil {
		return fmt.Errorf("the answer %.200q: %w", got, err)
	}
	if err := json.Unmarshal(a.whole, &want); err != nil {
		return err
	}
	if !reflect.DeepEqual(is, want) {
		return fmt.Errorf("the answer is %s, sent was %s", got, a.whole)
	}
	return nil
}
