package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"
)

// shape is one kind of request, and what it is measured against.
type shape struct {
	name     string
	body     []byte
	stream   bool    // the client asks for a stream
	limited  bool    // the gateway has a first-token limit, and so asks for a stream even if the client does not
	uncached bool    // the client wants no kept answer
	atOnce   int     // requests at once
	requests int     // requests per round
	target   float64 // the gateway's CPU time over reverse_proxy's; 0 for none
	answer   answer
}

// targetWithFeatures returns the target with cache, breaker and limits, for shapes up to a megabyte.
func (s *shape) targetWithFeatures() float64 {
	if s.target == 0 || s.target > 1 {
		return 0
	}
	return 1.1
}

// newShapes makes all shapes. Requests per round are chosen to take about a quarter of a second of CPU time.
func newShapes() []*shape {
	const (
		question = `{"model":"m"%s,"messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"What is the capital of France?"}],"max_tokens":64}`
		// With the role, the finish reason and the usage, 64 chunks.
		answerTokens, streamTokens = 14, 61
	)
	small, streamed := fmt.Appendf(nil, question, ""), fmt.Appendf(nil, question, streamMembers)
	oneMB, eightMB := agentRequest(2, 500<<10), agentRequest(15, 540<<10)
	whole, stream := newAnswer(answerTokens), newAnswer(streamTokens)
	slow := stream
	slow.pause = 2 * time.Millisecond
	return []*shape{
		{name: "small", body: small, atOnce: 32, requests: 2000, target: 0.95, answer: whole},
		{name: "stream", body: streamed, stream: true, limited: true, atOnce: 16, requests: 600, target: 0.95, answer: stream},
		{name: "1 MB", body: oneMB, atOnce: 4, requests: 200, target: 1.0, answer: whole},
		{name: "8 MB", body: eightMB, atOnce: 2, requests: 40, target: 1.2, answer: whole},
		// What follows has no target. A first-token limit makes the gateway ask for a stream and put the answer together.
		{name: "stream, 2 ms apart", body: streamed, stream: true, limited: true, atOnce: 32, requests: 200, answer: slow},
		{name: "small, first-token limit", body: small, limited: true, atOnce: 32, requests: 1000, answer: whole},
		{name: "1 MB, first-token limit", body: oneMB, limited: true, atOnce: 4, requests: 200, answer: whole},
	}
}

// streamMembers is what a client writes behind the model for a stream, and what the gateway adds when it asks for one by
// itself.
const streamMembers = `,"stream":true,"stream_options":{"include_usage":true}`

// file returns the name as part of a file name.
func (s *shape) file() string { return strings.NewReplacer(" ", "-", ",", "").Replace(s.name) }

// agentRequest makes a request as an agent sends it that looks at a screen: a long system prompt, tools, and a screenshot
// of the given number of base64 bytes in every turn.
func agentRequest(screenshots, size int) []byte {
	messages := []any{
		message{"role": "system", "content": strings.Repeat("You operate a computer. Look before you click; say what you did. ", 20)},
		message{"role": "user", "content": "Open the file manager and tell me what is in the folder \"Reports\"."},
	}
	random := rand.NewChaCha8([32]byte{})
	for n := range screenshots {
		id := fmt.Sprintf("call_%02d", n)
		messages = append(
			messages,
			message{"role": "assistant", "tool_calls": []any{message{"id": id, "type": "function", "function": message{
				"name": "computer_screenshot", "arguments": "{}",
			}}}},
			message{"role": "tool", "tool_call_id": id, "content": "screenshot"},
			message{"role": "user", "content": []any{
				message{"type": "text", "text": "Screenshot"},
				message{"type": "image_url", "image_url": message{"url": "data:image/png;base64," + noise(random, size), "detail": "high"}},
			}},
		)
	}
	var tools []any
	for _, name := range []string{"screenshot", "click_mouse", "type_text", "scroll"} {
		tools = append(tools, message{"type": "function", "function": message{
			"name": "computer_" + name, "description": "Does on the screen what its name says, and returns when it is done.",
			"parameters": message{"type": "object", "properties": message{
				"coordinates": message{"type": "object", "properties": message{"x": message{"type": "number"}, "y": message{"type": "number"}}},
				"text":        message{"type": "string"},
			}},
		}})
	}
	return fmt.Appendf(nil, `{"model":"m","messages":%s,"max_tokens":8192,"tools":%s,"reasoning_effort":"high"}`,
		encode(messages), encode(tools))
}

// message is a JSON object.
type message map[string]any

// noise returns size bytes of base64, which look like a compressed image.
func noise(random io.Reader, size int) string {
	raw := make([]byte, size*3/4)
	_, _ = random.Read(raw) // never fails
	return base64.StdEncoding.EncodeToString(raw)
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // no value here makes it fail
	}
	return text
}
