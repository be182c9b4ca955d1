package caddymodule

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// fails answers with an error.
func fails(status int, body string, header ...string) play {
	return func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// once does one thing at the first request and another at the others.
func once(first, then play) play {
	return func(w http.ResponseWriter, r *http.Request, call int) {
		if call > 1 {
			then(w, r, call)
			return
		}
		first(w, r, call)
	}
}

// inStream plays a stream; without one, it is a whole answer that does the same.
func inStream(stream func(http.ResponseWriter, *http.Request), whole play) play {
	return func(w http.ResponseWriter, r *http.Request, call int) {
		if wantsStream(r) {
			stream(w, r)
			return
		}
		whole(w, r, call)
	}
}

// hang says nothing until the gateway gives up.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// reset breaks the connection without a word.
func reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// halfAnswer announces more than it sends.
func halfAnswer(w http.ResponseWriter, _ *http.Request, _ int) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", "10000")
	_, _ = fmt.Fprintf(w, `{"choices":[{"message":{"content":"%s`, wordsOf("first", 1, 40))
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// document answers with something, whole or not.
func document(contentType, body string) play {
	return func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	}
}

// broken is what comes of an answer that breaks after so many words.
func broken(words int, message string) want { return want{by: "first", words: words, error: message} }

// allFaults returns what providers are known to do. The letters and numbers of the first are for finding them.
func allFaults() []fault {
	limited := fails(429, `{"error":{"message":"slow down"}}`, "Retry-After", "1")
	tooLong := fails(400, `{"error":{"message":"This model's maximum context length is 10 tokens","code":"context_length_exceeded"}}`)
	filter := fails(400, `{"error":{"message":"this is not for us","code":"content_filter"}}`)
	filtered := want{status: 400, error: "this is not for us"}
	return []fault{
		{name: "S01 rate limited, then well", first: once(limited, well("first")), again: 1200 * time.Millisecond, streamed: bySecond, plain: bySecond},
		{name: "S02 rate limited for good", first: fails(429, "{}", "Retry-After", "3600"), streamed: bySecond, plain: bySecond},
		{name: "S03 one 500", first: once(fails(500, "oh"), well("first")), streamed: bySecond, plain: bySecond},
		{name: "S04 unavailable", first: fails(503, "no"), streamed: bySecond, plain: bySecond},
		{name: "S05 reset", first: func(w http.ResponseWriter, r *http.Request, _ int) { reset(w, r) }, streamed: bySecond, plain: bySecond},
		{
			name: "S06 silence", hangs: true, first: func(w http.ResponseWriter, r *http.Request, _ int) { wantsStream(r); hang(w, r) },
			second: once(fails(503, "no"), well("second")), options: "lb_retries 5\nlb_try_interval 20ms", streamed: bySecond, plain: bySecond,
		},
		{
			name: "S07 late first token", hangs: true, streamed: bySecond, plain: bySecond, never: "first1",
			first: func(w http.ResponseWriter, r *http.Request, call int) {
				time.Sleep(2 * faultPatience)
				well("first")(w, r, call)
			},
		},
		{
			name: "S08 cut at 40 of 60", streamed: broken(40, "the stream ended before"), plain: bySecond,
			first: inStream(func(w http.ResponseWriter, _ *http.Request) {
				sayRole(w)
				count(w, "first", 1, 40)
				panic(http.ErrAbortHandler)
			}, halfAnswer),
		},
		{
			name: "S09 stalls at 40 of 60", streamed: broken(40, "no further token within 300ms"), plain: bySecond, hangs: true,
			first: inStream(func(w http.ResponseWriter, r *http.Request) { count(w, "first", 1, 40); hang(w, r) }, nil),
		},
		{
			name: "S10 malformed chunk first", streamed: bySecond, plain: bySecond, never: "mangled",
			first: inStream(func(w http.ResponseWriter, _ *http.Request) { sendData(w, `{"choices":[{"delta":{"content":"mangled`) }, document("application/json", `{"choices":[{"mangled`)),
		},
		{
			name: "S10 malformed chunk later", streamed: broken(10, "malformed"), plain: bySecond, never: "mangled",
			first: inStream(func(w http.ResponseWriter, _ *http.Request) {
				count(w, "first", 1, 10)
				sendData(w, `{"choices":[{"delta":{"content":"mangled"}]}`)
				count(w, "first", 11, allWords)
				sendEnd(w, "first")
				sendData(w, "[DONE]")
			}, document("application/json", `{"choices":[{"message":{"content":"mangled"}]}`)),
		},
		{
			name: "S11 no end marker, finished", streamed: byFirst, plain: byFirst,
			first: inStream(func(w http.ResponseWriter, _ *http.Request) {
				count(w, "first", 1, allWords)
				sendEnd(w, "first")
			}, well("first")),
		},
		{
			name: "S11 no end marker, not finished", streamed: broken(allWords, "the stream ended before"), plain: bySecond,
			first: inStream(func(w http.ResponseWriter, _ *http.Request) { count(w, "first", 1, allWords) }, halfAnswer),
		},
		{
			name: "S12 context too short", first: tooLong, streamed: bySecond, plain: bySecond,
			second: once(fails(503, "no"), well("second")), options: "lb_retries 5\nlb_try_interval 20ms",
		},
		{name: "S13 content filter", first: filter, streamed: filtered, plain: filtered},
		{
			name: "S14 the fallback takes no prefill", first: fails(500, "oh"),
			second:   fails(400, `{"error":{"message":"the last message must be the user's"}}`),
			members:  []string{`"messages":[{"role":"user","content":"hello"},{"role":"assistant","content":"first1"}]`},
			streamed: want{status: 400, error: "the last message must be the user's"}, plain: want{status: 400, error: "the last message must be the user's"},
		},
		{name: "S16 the second answers as itself", first: fails(502, "no"), streamed: bySecond, plain: bySecond, never: "first-model"},
		{name: "error with status 200", first: document("application/json", `{"error":{"message":"out of memory","code":500}}`), streamed: bySecond, plain: bySecond, never: "out of memory"},
		{
			name: "error as the first event", streamed: bySecond, plain: bySecond, never: "out of memory",
			first: inStream(func(w http.ResponseWriter, _ *http.Request) { sendData(w, `{"error":{"message":"out of memory"}}`) }, fails(500, "out of memory")),
		},
		{
			name: "no content", streamed: bySecond, plain: bySecond,
			first: inStream(func(w http.ResponseWriter, _ *http.Request) { sendData(w, `{"choices":[]}`); sendData(w, "[DONE]") }, document("application/json", `{"choices":[]}`)),
		},
		{
			name: "nothing said", streamed: bySecond, plain: bySecond,
			first: inStream(func(w http.ResponseWriter, _ *http.Request) { sayRole(w); sendEnd(w, "first"); sendData(w, "[DONE]") },
				document("application/json", `{"choices":[{"index":0,"message":{"role":"assistant","content":""},"finish_reason":"stop"}]}`)),
		},
		{
			name: "an error that is the event", streamed: broken(10, "reported an error"), plain: bySecond, never: "out of memory",
			first: inStream(func(w http.ResponseWriter, _ *http.Request) {
				count(w, "first", 1, 10)
				sendData(w, `{"object":"error","message":"out of memory","code":500}`)
				sendData(w, "[DONE]")
			}, document("application/json", `{"object":"error","message":"out of memory","code":500}`)),
		},
		{
			name: "an error as the reason", streamed: broken(10, "reported an error"), plain: bySecond,
			first: inStream(func(w http.ResponseWriter, _ *http.Request) {
				count(w, "first", 1, 10)
				sendDelta(w, "{}", `"error"`)
				sendData(w, "[DONE]")
			}, document("application/json", `{"choices":[{"index":0,"message":{"role":"assistant","content":"first1"},"finish_reason":"error"}]}`)),
		},
		{
			name: "empty deltas for ever", streamed: broken(10, "no further token within 300ms"), plain: bySecond, hangs: true,
			first: inStream(func(w http.ResponseWriter, r *http.Request) {
				count(w, "first", 1, 10)
				for r.Context().Err() == nil {
					sendDelta(w, `{"content":""}`, "null")
					time.Sleep(faultPatience / 10)
				}
			}, nil),
		},
		{name: "HTML", first: document("text/html", "<html>sign in</html>"), streamed: bySecond, plain: bySecond, never: "sign in"},
		{name: "nothing", first: document("application/json", ""), streamed: bySecond, plain: bySecond},
		{name: "empty stream", first: document("text/event-stream", ""), streamed: bySecond, plain: bySecond},
		{
			name: "slow drip", streamed: byFirst, plain: byFirst,
			first: inStream(func(w http.ResponseWriter, _ *http.Request) {
				for i := 1; i <= allWords; i++ {
					time.Sleep(faultPatience / 30)
					count(w, "first", i, i)
				}
				sendEnd(w, "first")
				sendData(w, "[DONE]")
			}, well("first")),
		},
		{
			name: "finish twice", streamed: byFirst, plain: byFirst,
			first: inStream(func(w http.ResponseWriter, _ *http.Request) {
				count(w, "first", 1, allWords)
				sendDelta(w, "{}", `"stop"`)
				sendEnd(w, "first")
				sendData(w, "[DONE]")
			}, well("first")),
		},
		{
			name: "role only", streamed: bySecond, plain: bySecond,
			first: inStream(func(w http.ResponseWriter, _ *http.Request) { sayRole(w); sendData(w, "[DONE]") }, fails(500, "")),
		},
		{
			name: "role only, and silence", streamed: bySecond, plain: bySecond, hangs: true,
			first: inStream(func(w http.ResponseWriter, r *http.Request) { sayRole(w); hang(w, r) }, nil),
		},
	}
}

// sendData sends an event of a stream as it is.
func sendData(w http.ResponseWriter, data string) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, "data: "+data+"\n\n")
	_ = http.NewResponseController(w).Flush()
}
