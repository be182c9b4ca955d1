package openai

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// writes is a connection that keeps what was written to it, write by write.
type writes struct {
	net.Conn
	mu   sync.Mutex
	each [][]byte
}

func (w *writes) Write(b []byte) (int, error) {
	w.mu.Lock()
	w.each = append(w.each, bytes.Clone(b))
	w.mu.Unlock()
	if w.Conn == nil {
		return len(b), nil
	}
	return w.Conn.Write(b)
}

func (w *writes) longest() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.each {
		n = max(n, len(b))
	}
	return n
}

func TestConnSendsTheRestOfAPayload(t *testing.T) {
	r := read(t, `{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":false}`)
	r.Model, r.Stream = "other", true
	want := spliced(r)
	segments, size := splice(r)
	for begun := range size + 1 {
		// Twice, as a repeated request shares its segments with the first.
		for range 2 {
			p := newPayload(r.Body, segments)
			limited := &io.LimitedReader{R: p, N: int64(size)}
			head := make([]byte, begun)
			if _, err := io.ReadFull(limited, head); err != nil {
				t.Fatal(err)
			}
			to := &writes{}
			n, err := conn{to}.ReadFrom(limited)
			if got := string(head) + string(bytes.Join(to.each, nil)); err != nil || got != want || n != int64(size-begun) || limited.N != 0 {
				t.Fatalf("%d bytes ahead: got %q, %d, %v with %d left, want %q", begun, got, n, err, limited.N, want)
			}
			if n, err := p.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("got %d, %v behind the end", n, err)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if _, err := (conn{to}).ReadFrom(&io.LimitedReader{R: p, N: 0}); !errors.Is(err, errPayloadClosed) {
				t.Errorf("sending a closed payload: got %v, want errPayloadClosed", err)
			}
		}
	}
}

func TestConnCopiesWhatItDoesNotKnow(t *testing.T) {
	r := read(t, `{"model":"m"}`)
	segments, _ := splice(r)
	for name, reader := range map[string]io.Reader{
		"a reader":                 strings.NewReader(`{"model"`),
		"a limited reader":         io.LimitReader(strings.NewReader(`{"model":"m"}`), 8),
		"a limit within a payload": io.LimitReader(newPayload(r.Body, segments), 8),
	} {
		to := &writes{}
		n, err := conn{to}.ReadFrom(reader)
		if got, want := string(bytes.Join(to.each, nil)), `{"model"`; got != want || n != 8 || err != nil {
			t.Errorf("%s: got %q, %d, %v, want %q", name, got, n, err, want)
		}
	}
}

// TestBodiesAreSentInFewWrites fails if net/http stops handing large bodies to the connection, or stops writing small ones
// together with their header.
func TestBodiesAreSentInFewWrites(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"choices":[{}],"size":%d}`, n)
	}))
	defer server.Close()
	for _, test := range []struct {
		name          string
		size, longest int
		writes        int // at most
	}{
		{"small", smallBody - 100, smallBody - 100, 1},
		{"middling", smallBody + 1, smallBody + 1, 2},
		{"large", 8 << 20, 8 << 20, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			var to *writes
			transport := DefaultTransport()
			transport.DialContext = DialForBodies(func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := (&net.Dialer{}).DialContext(ctx, network, address)
				to = &writes{Conn: c}
				return to, err
			})
			defer transport.CloseIdleConnections()
			c, err := NewClient(server.URL, "", nil, transport)
			if err != nil {
				t.Fatal(err)
			}
			body := `{"model":"m","x":"` + strings.Repeat("A", test.size-20) + `"}`
			for event, err := range c.Generate(t.Context(), read(t, body)) {
				if want := fmt.Sprintf(`{"choices":[{}],"size":%d}`, test.size); err != nil || string(event.Data) != want {
					t.Fatalf("got %s, %v, want %s", event.Data, err, want)
				}
			}
			if longest := to.longest(); longest < test.longest || len(to.each) > test.writes {
				t.Errorf("got %d writes of at most %d bytes, want %d", len(to.each), longest, test.writes)
			}
		})
	}
}

// BenchmarkSend sends a body of 8 MB to a server on loopback that throws it away.
func BenchmarkSend(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"choices":[{}]}`)
	}))
	defer server.Close()
	body := []byte(`{"model":"m","x":"` + strings.Repeat("A", 8<<20) + `"}`)
	copying := DefaultTransport()
	copying.DialContext = (&net.Dialer{}).DialContext
	for name, transport := range map[string]*http.Transport{"in place": DefaultTransport(), "copying": copying} {
		b.Run(name, func(b *testing.B) {
			defer transport.CloseIdleConnections()
			c, err := NewClient(server.URL, "", nil, transport)
			if err != nil {
				b.Fatal(err)
			}
			r, err := Read(llmgateway.Chat, llmgateway.NewBody(body))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range c.Generate(b.Context(), r) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
