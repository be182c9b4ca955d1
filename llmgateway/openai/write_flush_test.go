package openai

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// flushes is a client that remembers what it had been sent at every flush.
type flushes struct {
	header http.Header
	sent   strings.Builder
	seen   []string
	writes int
}

func (f *flushes) Header() http.Header { return f.header }
func (f *flushes) WriteHeader(int)     {}

func (f *flushes) Write(b []byte) (int, error) {
	f.writes++
	return f.sent.Write(b)
}

func (f *flushes) FlushError() error {
	f.seen = append(f.seen, f.sent.String())
	f.sent.Reset()
	return nil
}

func TestWriteFlushesWhenNothingMoreIsAtHand(t *testing.T) {
	long := `{"long":"` + strings.Repeat("x", maxPending) + `"}`
	for _, test := range []struct {
		name   string
		events []llmgateway.Event
		err    error
		want   []string // what each flush sends; the last is sent by the server when the handler returns
		writes int
	}{
		{
			name:   "every event by itself",
			events: []llmgateway.Event{{Data: []byte(`1`)}, {Data: []byte(`2`)}},
			want:   []string{"data: 1\n\n", "data: 2\n\n", "data: [DONE]\n\n"},
			writes: 3,
		},
		{
			name:   "events at hand together",
			events: []llmgateway.Event{{Data: []byte(`1`), More: true}, {Data: []byte(`2`), More: true}, {Data: []byte(`3`)}, {Data: []byte(`4`), More: true}},
			want:   []string{"data: 1\n\ndata: 2\n\ndata: 3\n\n", "data: 4\n\ndata: [DONE]\n\n"},
			writes: 2,
		},
		{
			name:   "long events at once",
			events: []llmgateway.Event{{Data: []byte(long), More: true}, {Data: []byte(`2`), More: true}},
			want:   []string{"data: " + long + "\n\ndata: 2\n\ndata: [DONE]\n\n"},
			writes: 2,
		},
		{
			name:   "events before an error with it",
			events: []llmgateway.Event{{Data: []byte(`1`), More: true}},
			err:    &llmgateway.Error{Kind: llmgateway.Timeout, Message: "too late"},
			want:   []string{"data: 1\n\ndata: " + string(ErrorBody(&llmgateway.Error{Kind: llmgateway.Timeout, Message: "too late"})) + "\n\n"},
			writes: 1,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := &flushes{header: http.Header{}}
			err := Write(client, &llmgateway.Request{ClientStream: true}, func(yield func(llmgateway.Event, error) bool) {
				for _, event := range test.events {
					if !yield(event, nil) {
						return
					}
				}
				if test.err != nil {
					yield(llmgateway.Event{}, test.err)
				}
			}, nil, nil)
			if !errors.Is(err, test.err) {
				t.Errorf("got %v, want %v", err, test.err)
			}
			if client.sent.Len() > 0 {
				_ = client.FlushError()
			}
			if !slices.Equal(client.seen, test.want) {
				t.Errorf("got %q, want %q", client.seen, test.want)
			}
			if client.writes != test.writes {
				t.Errorf("got %d writes, want %d", client.writes, test.writes)
			}
		})
	}
}

// TestEndMarkerIsAtHandWithTheEndOnly says when a flush may wait for the end marker.
func TestEndMarkerIsAtHandWithTheEndOnly(t *testing.T) {
	for _, test := range []struct {
		name string
		r    *endsWith
		want bool
	}{
		{"the end came with it", &endsWith{"data: {}\n\ndata: [DONE]\n\n", true}, true},
		{"the end is not there yet", &endsWith{"data: {}\n\ndata: [DONE]\n\n", false}, false},
		{"a cut event behind it", &endsWith{"data: {}\n\ndata: [DO", true}, false},
	} {
		events := newEventReader(test.r)
		if _, err := events.next(); err != nil {
			t.Fatal(err)
		}
		if got := events.more(); got != test.want {
			t.Errorf("%s: got %t, want %t", test.name, got, test.want)
		}
		events.free()
	}
}

// endsWith returns all with the first read, and the end with it or not.
type endsWith struct {
	rest string
	end  bool
}

func (e *endsWith) Read(b []byte) (int, error) {
	n := copy(b, e.rest)
	e.rest = e.rest[n:]
	if e.end {
		return n, io.EOF
	}
	return n, nil
}
