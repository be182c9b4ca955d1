package openai

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// patient is a client that notes when it was sent what. Its methods must not be called at the same time.
type patient struct {
	inUse  sync.Mutex
	began  time.Time
	header http.Header
	sent   http.Header // with the status
	status int
	log    []string // "<seconds> <text>" for each flush
	text   strings.Builder
	fails  error // of every write, from the second on
	slow   time.Duration
	// writing, if there is one, is told when a write begins, which then takes slow.
	writing chan struct{}
	writes  int
}

func (p *patient) use(t *testing.T) func() {
	if !p.inUse.TryLock() {
		t.Error("the client is used twice at once")
		return func() {}
	}
	return p.inUse.Unlock
}

// client makes an http.ResponseWriter of it.
type client struct {
	*patient
	t *testing.T
}

func newPatient(t *testing.T) client {
	return client{&patient{began: time.Now(), header: http.Header{}}, t}
}

func (c client) Header() http.Header { return c.header }

func (c client) WriteHeader(status int) {
	defer c.use(c.t)()
	c.status, c.sent = status, c.header.Clone()
}

func (c client) Write(b []byte) (int, error) {
	defer c.use(c.t)()
	if c.writing != nil {
		c.writing <- struct{}{}
		time.Sleep(c.slow)
	}
	if c.writes++; c.writes > 1 && c.fails != nil {
		return 0, c.fails
	}
	return c.text.Write(b)
}

func (c client) FlushError() error {
	defer c.use(c.t)()
	c.log = append(c.log, time.Since(c.began).String()+" "+c.text.String())
	c.text.Reset()
	return nil
}

// after yields an event after a while, and sets a field of the header right before it, as the gateway does.
func after(c client, p *Pinger, wait time.Duration, data string, err error) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		time.Sleep(wait)
		p.Stop()
		c.header.Set("X-Who", "me")
		if err != nil {
			yield(llmgateway.Event{}, err)
			return
		}
		if yield(llmgateway.Event{Data: []byte(data)}, nil) {
			time.Sleep(time.Hour) // no more pings, however long it takes
		}
	}
}

var streaming = &llmgateway.Request{ClientStream: true}

func TestWaitingClientIsPinged(t *testing.T) {
	failed := &llmgateway.Error{Kind: llmgateway.Timeout, Message: "too late"}
	failure := "data: " + string(ErrorBody(failed)) + "\n\n"
	const fact, done = ": X-Who: me\n\n", "data: [DONE]\n\n"
	for _, test := range []struct {
		name     string
		interval time.Duration
		wait     time.Duration
		err      error
		want     []string
		rest     string
	}{
		{"an answer in time", 15 * time.Second, 4 * time.Second, nil, []string{"4s data: 1\n\n"}, done},
		{"an answer that takes long", 15 * time.Second, 36 * time.Second, nil, []string{"5s : ping\n\n", "20s : ping\n\n", "35s : ping\n\n", "36s " + fact + "data: 1\n\n"}, done},
		{"a short interval", 2 * time.Second, 5 * time.Second, nil, []string{"2s : ping\n\n", "4s : ping\n\n", "5s " + fact + "data: 1\n\n"}, done},
		{"an error in time", 15 * time.Second, 4 * time.Second, failed, nil, ""},
		{"an error after a ping", 15 * time.Second, 6 * time.Second, failed, []string{"5s : ping\n\n", "6s " + fact + failure}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newPatient(t)
				p := StartPinger(c, test.interval, func(err error) { t.Errorf("left: %v", err) })
				err := Write(c, streaming, after(c, p, test.wait, "1", test.err), p, nil)
				if !errors.Is(err, test.err) {
					t.Errorf("got %v, want %v", err, test.err)
				}
				pinged := len(test.want) > 1
				broken, ok := errors.AsType[*BrokenError](err)
				if ok != (pinged && test.err != nil) || ok && !broken.Empty {
					t.Errorf("got %#v", err)
				}
				if !slices.Equal(c.log, test.want) || c.text.String() != test.rest {
					t.Errorf("got  %q, %q\nwant %q, %q", c.log, c.text.String(), test.want, test.rest)
				}
				if test.want == nil {
					if c.status != 0 {
						t.Error("a status was sent")
					}
					return
				}
				if c.status != 200 || c.sent.Get("Content-Type") != "text/event-stream" || c.sent.Get("Incremental") != "?1" || (c.sent.Get("X-Who") == "") != pinged {
					t.Errorf("got %d, %v", c.status, c.sent)
				}
			})
		})
	}
}

func TestPingedStreamWithoutAnEventEndsInAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPatient(t)
		p := StartPinger(c, time.Second, func(error) {})
		err := Write(c, streaming, func(func(llmgateway.Event, error) bool) { time.Sleep(1500 * time.Millisecond) }, p, nil)
		if broken, ok := errors.AsType[*BrokenError](err); !ok || !broken.Empty {
			t.Errorf("got %v", err)
		}
		if len(c.log) != 2 || !strings.Contains(c.log[1], "nothing in it") || c.text.Len() > 0 {
			t.Errorf("got %q, %q", c.log, c.text.String())
		}
	})
}

// TestFirstEventWaitsForAPing has a client that takes its time for a ping, while the first event comes.
func TestFirstEventWaitsForAPing(t *testing.T) {
	c := newPatient(t)
	c.slow, c.writing = 100*time.Millisecond, make(chan struct{}, 1000)
	p := StartPinger(c, time.Millisecond, func(error) {})
	if err := Write(c, streaming, func(yield func(llmgateway.Event, error) bool) {
		<-c.writing
		yield(llmgateway.Event{Data: []byte("1")}, nil)
	}, p, nil); err != nil {
		t.Fatal(err)
	}
	pings := slices.DeleteFunc(slices.Clone(c.log), func(sent string) bool { return !strings.HasSuffix(sent, "s : ping\n\n") })
	if len(pings) == 0 || len(c.log) != len(pings)+1 || !strings.HasSuffix(c.log[len(pings)], "s data: 1\n\n") {
		t.Errorf("got %q, want pings and then an event", c.log)
	}
}

func TestPingThatFailsStopsTheGeneration(t *testing.T) {
	gone := errors.New("broken pipe")
	for name, failing := range map[string]func(client) http.ResponseWriter{
		"writing":  func(c client) http.ResponseWriter { c.fails = gone; return c },
		"flushing": func(c client) http.ResponseWriter { return deadClient{ResponseWriter: c, flushes: gone} },
		"panic":    func(c client) http.ResponseWriter { return struct{ http.ResponseWriter }{panics{c}} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				w := failing(newPatient(t))
				p := StartPinger(w, time.Second, cancel)
				err := Write(w, streaming, func(yield func(llmgateway.Event, error) bool) {
					<-ctx.Done()
					yield(llmgateway.Event{}, context.Cause(ctx))
				}, p, nil)
				if e := llmgateway.AsError(err); name != "panic" && (e.Kind != llmgateway.Canceled || !errors.Is(err, gone)) {
					t.Errorf("got %v, want canceled", err)
				} else if err == nil {
					t.Error("got no error")
				}
				time.Sleep(time.Hour)
			})
		})
	}
}

// panics is a client that is broken.
type panics struct{ http.ResponseWriter }

func (panics) WriteHeader(int) { panic("no header") }

func TestPingsEndWithTheGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPatient(t)
		p := StartPinger(c, time.Second, func(error) {})
		p.Stop()
		p.Stop()
		(*Pinger)(nil).Stop()
		time.Sleep(time.Hour)
		if len(c.log) > 0 || c.status != 0 {
			t.Errorf("got %d, %q", c.status, c.log)
		}
	})
}

func TestLateFieldsStayInTheirComment(t *testing.T) {
	c := newPatient(t)
	c.header.Set("Before", "x")
	p := &Pinger{w: c, sent: c.header.Clone()}
	c.header["X-B"] = []string{"1\n\ndata: 2", "3"}
	c.header["X-A"] = []string{"4\r5"}
	if got, want := p.late(), ": X-A: 4 5\n: X-B: 1  data: 2\n: X-B: 3\n\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func BenchmarkPinger(b *testing.B) {
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		StartPinger(w, 15*time.Second, nil).Stop()
	}
}
