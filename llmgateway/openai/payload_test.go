package openai

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestPayloadReadsAllSegments(t *testing.T) {
	r := read(t, `{"provider":"p","a":[1,2,3],"model":"m","b":{"c":"d"}}`)
	r.Model, r.Stream = "other", true
	want := spliced(r)
	segments, size := splice(r)
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"at once":        func(r io.Reader) io.Reader { return r },
		"byte by byte":   iotest.OneByteReader,
		"half by half":   iotest.HalfReader,
		"into no buffer": func(r io.Reader) io.Reader { return &emptyReads{r} },
	} {
		p := newPayload(r.Body, segments)
		got, err := io.ReadAll(wrap(p))
		if err != nil || string(got) != want || len(got) != size {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
		if n, err := p.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%s: got %d, %v behind the end", name, n, err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// emptyReads reads into nothing before each read.
type emptyReads struct{ io.Reader }

func (e *emptyReads) Read(b []byte) (int, error) {
	if n, err := e.Reader.Read(nil); n != 0 || err != nil && err != io.EOF {
		return n, fmt.Errorf("reading into nothing: %w", err)
	}
	return e.Reader.Read(b)
}

func TestPayloadHoldsTheBodyUntilItIsClosed(t *testing.T) {
	body := pooled(t, `{"model":"m"}`)
	r, err := Read(llmgateway.Chat, body)
	if err != nil {
		t.Fatal(err)
	}
	segments, _ := splice(r)
	first, second := newPayload(body, segments), newPayload(body, segments)
	body.Release()
	if got, err := io.ReadAll(first); err != nil || string(got) != `{"model":"m"}` {
		t.Errorf("got %q, %v", got, err)
	}
	for range 3 { // net/http may close more than once
		if err := first.Close(); err != nil {
			t.Error(err)
		}
	}
	if body.Bytes == nil {
		t.Fatal("the body went while another payload had it")
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if body.Bytes != nil {
		t.Error("the body stays after the last payload was closed")
	}
	if _, err := second.Read(make([]byte, 1)); !errors.Is(err, errPayloadClosed) {
		t.Errorf("reading a closed payload: got %v, want errPayloadClosed", err)
	}
}

// TestPayloadIsNotReadAfterItWasClosed closes while another goroutine reads, as HTTP/2 does. A reader that still had the
// buffer would see the next body, or make the race detector speak.
func TestPayloadIsNotReadAfterItWasClosed(t *testing.T) {
	const size = 64 << 10
	for round := range 50 {
		fill := byte('a' + round%26)
		body := pooled(t, `{"model":"m","x":"`+strings.Repeat(string(fill), size)+`"}`)
		r, err := Read(llmgateway.Chat, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Model = "other"
		segments, _ := splice(r)
		want := string(bytes.Join(segments, nil))
		p := newPayload(body, segments)
		body.Release()
		var got bytes.Buffer
		var wg sync.WaitGroup
		begun := make(chan struct{})
		wg.Go(func() {
			buf := make([]byte, 512)
			for i := 0; ; i++ {
				n, err := p.Read(buf)
				got.Write(buf[:n])
				if i == 10 {
					close(begun)
				}
				if err != nil {
					return
				}
			}
		})
		wg.Go(func() {
			<-begun
			_ = p.Close()
			pooled(t, strings.Repeat("!", size+100)).Release()
		})
		wg.Wait()
		if !strings.HasPrefix(want, got.String()) {
			t.Fatal("read what is not of this body")
		}
	}
}

// TestTransportsSendOnlyTheBodyTheyWereGiven cancels requests at any moment while buffers are used again at once. Nothing
// that reaches the server may be of another request.
func TestTransportsSendOnlyTheBodyTheyWereGiven(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			var whole, cut, foreign atomic.Int64
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Proto != protocol {
					t.Errorf("got %s", r.Proto)
				}
				id, _ := strconv.Atoi(r.Header.Get("X-Id"))
				ok, complete := receive(r.Body, id)
				switch {
				case !ok:
					foreign.Add(1)
				case complete:
					whole.Add(1)
				default:
					cut.Add(1)
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, `{"choices":[{}]}`)
			}))
			if server.EnableHTTP2 = protocol == "HTTP/2.0"; server.EnableHTTP2 {
				server.StartTLS()
			} else {
				server.Start()
			}
			defer server.Close()
			transport := server.Client().Transport
			if !server.EnableHTTP2 {
				h1 := DefaultTransport()
				h1.DialContext = DialForBodies(func(ctx context.Context, network, address string) (net.Conn, error) {
					c, err := (&net.Dialer{}).DialContext(ctx, network, address)
					if err == nil {
						err = c.(*net.TCPConn).SetWriteBuffer(16 << 10) // else whole bodies vanish in it before they can be cut
					}
					return c, err
				})
				defer h1.CloseIdleConnections()
				transport = h1
			}

			requests := 400
			if testing.Short() {
				requests = 100
			}
			var next atomic.Int64
			var wg sync.WaitGroup
			for range 6 {
				wg.Go(func() {
					for {
						id := int(next.Add(1))
						if id > requests {
							return
						}
						sendOne(t, server.URL, transport, id)
					}
				})
			}
			wg.Wait()
			if foreign.Load() > 0 {
				t.Errorf("%d bodies held bytes of others", foreign.Load())
			}
			if whole.Load() == 0 {
				t.Error("no body arrived whole")
			}
			t.Logf("%d bodies arrived whole, %d cut off", whole.Load(), cut.Load())
		})
	}
}

// TestTransportsMayReadOnAfterTheyReturned has a transport that makes the most of what net/http allows: it returns at once
// when a request is canceled and goes on reading the body until it closes it.
func TestTransportsMayReadOnAfterTheyReturned(t *testing.T) {
	var readers sync.WaitGroup
	var foreign atomic.Int64
	transport := roundTripFunc(func(r *http.Request) (*http.Response, error) {
		id, _ := strconv.Atoi(r.Header.Get("X-Id"))
		readers.Go(func() {
			if ok, _ := receive(r.Body, id); !ok {
				foreign.Add(1)
			}
			_ = r.Body.Close()
		})
		return nil, errors.New("gone")
	})
	var clients sync.WaitGroup
	for worker := range 4 {
		clients.Go(func() {
			for i := range 50 {
				sendOne(t, "http://nowhere", transport, 100*worker+i)
			}
		})
	}
	clients.Wait()
	readers.Wait()
	if foreign.Load() > 0 {
		t.Errorf("%d bodies held bytes of others", foreign.Load())
	}
}

// roundTripFunc is a transport without a network.
type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// sendOne sends a body that says whose it is in every line, and gives it up after a random time.
func sendOne(t *testing.T, url string, transport http.RoundTripper, id int) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, uint64(id)))
	body := pooled(t, `{"model":"m","x":"`+strings.Repeat(line(id), 1+random.IntN(8_000))+`"}`)
	r, err := Read(llmgateway.Chat, body)
	if err != nil {
		t.Error(err)
		return
	}
	r.Model = "other"
	c, err := NewClient(url, "", http.Header{"X-Id": {strconv.Itoa(id)}}, transport)
	if err != nil {
		t.Error(err)
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	if id%3 > 0 {
		defer time.AfterFunc(time.Duration(random.IntN(5_000))*time.Microsecond, cancel).Stop()
	}
	for _, err := range c.Generate(ctx, r) {
		_ = err // many are canceled
		break
	}
	cancel()
	body.Release()
}

// line is 32 bytes that no other id has.
func line(id int) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(strconv.Itoa(id))))[:32]
}

// receive reads a body in fits and starts. It reports whether all of it is of this id, and whether it is complete.
func receive(r io.Reader, id int) (ok, complete bool) {
	random := rand.New(rand.NewPCG(2, uint64(id)))
	var got bytes.Buffer
	for {
		if random.IntN(8) == 0 {
			time.Sleep(time.Duration(random.IntN(500)) * time.Microsecond)
		}
		_, err := io.CopyN(&got, r, 1+random.Int64N(64<<10))
		if err != nil {
			complete = err == io.EOF
			break
		}
	}
	const head = `{"model":"other","x":"`
	text := got.String()
	if len(text) < len(head) {
		return strings.HasPrefix(head, text), false
	}
	rest, ok := strings.CutPrefix(text, head)
	if complete {
		rest = strings.TrimSuffix(rest, `"}`)
	}
	want := line(id)
	for len(rest) >= len(want) && ok {
		rest, ok = strings.CutPrefix(rest, want)
	}
	return ok && (strings.HasPrefix(want, rest) || strings.HasPrefix(rest, `"`)), complete
}

// pooled returns a body whose bytes come from the pools, as those of real requests do.
func pooled(t testing.TB, content string) *llmgateway.Body {
	t.Helper()
	body, err := llmgateway.ReadBody(strings.NewReader(content), int64(len(content)), 1<<30)
	if err != nil {
		t.Error(err)
	}
	return body
}
