package openai

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// chunk is an event as most servers send them.
const chunk = `{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1750000000,"model":"m","system_fingerprint":"fp_bench","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}],"usage":null}`

// answerStream is a stream of n chunks with its end marker.
func answerStream(n int) string {
	return strings.Repeat("data: "+chunk+"\n\n", n-1) +
		"data: " + strings.Replace(chunk, `"finish_reason":null`, `"finish_reason":"stop"`, 1) + "\n\ndata: [DONE]\n\n"
}

func BenchmarkScan(b *testing.B) {
	image := strings.Repeat("iVBORw0KGgoAAAANSUhEUgAA", 1<<20/24)
	for name, body := range map[string]string{
		"chunk": chunk,
		"text":  `{"model":"m","messages":[` + strings.Repeat(`{"role":"user","content":"Say \"hello\" to the world, please."},`, 100) + `{}]}`,
		"1 MB":  `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + image + `"}}]}]}`,
	} {
		b.Run(name, func(b *testing.B) {
			d := []byte(body)
			members := make([]llmgateway.Member, 0, 16)
			b.SetBytes(int64(len(d)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := scanObject(d, members, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkInspect(b *testing.B) {
	var in inspector
	data := []byte(chunk)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := in.inspect(data, false); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStream takes a stream of 64 chunks from an upstream's answer to the client's, with all of it at hand and with
// one event per read.
func BenchmarkStream(b *testing.B) {
	const chunks = 64
	body := answerStream(chunks)
	for name, wrap := range map[string]func(string) io.Reader{
		"at hand":    func(s string) io.Reader { return strings.NewReader(s) },
		"one by one": func(s string) io.Reader { return &eventByEvent{s} },
	} {
		b.Run(name, func(b *testing.B) {
			c := &Client{}
			req := &llmgateway.Request{Stream: true, ClientStream: true}
			b.ReportAllocs()
			for b.Loop() {
				resp := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: io.NopCloser(wrap(body))}
				w := &discard{header: http.Header{}}
				err := Write(w, req, func(yield func(llmgateway.Event, error) bool) { c.stream(b.Context(), req, resp, yield) }, nil, nil)
				if err != nil || w.events != chunks+1 {
					b.Fatal(w.events, err)
				}
			}
		})
	}
}

func BenchmarkMerge(b *testing.B) {
	for _, chunks := range []int{16, 1000} {
		b.Run(fmt.Sprint(chunks, " chunks"), func(b *testing.B) {
			data := []byte(chunk)
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range Merge(func(yield func(llmgateway.Event, error) bool) {
					for range chunks {
						if !yield(llmgateway.Event{Data: data, Carries: true}, nil) {
							return
						}
					}
				}) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// eventByEvent returns one event with every read.
type eventByEvent struct{ rest string }

func (e *eventByEvent) Read(b []byte) (int, error) {
	if e.rest == "" {
		return 0, io.EOF
	}
	n := copy(b, e.rest[:strings.Index(e.rest, "\n\n")+2])
	e.rest = e.rest[n:]
	return n, nil
}

// discard is a client that counts the events it gets.
type discard struct {
	header http.Header
	events int
}

func (d *discard) Header() http.Header { return d.header }
func (d *discard) WriteHeader(int)     {}
func (d *discard) FlushError() error   { return nil }

func (d *discard) Write(b []byte) (int, error) {
	d.events += bytes.Count(b, []byte("\n\n"))
	return len(b), nil
}
