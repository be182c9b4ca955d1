package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A patient upstream does something and then waits until the gateway closes the connection.
type patient struct {
	url   string
	asked atomic.Int64
	begun chan struct{}  // a value for each request that waits
	gone  chan time.Time // when each of them ended
}

func newPatient(t *testing.T, first func(w http.ResponseWriter)) *patient {
	u := &patient{begun: make(chan struct{}, 100), gone: make(chan time.Time, 100)}
	u.url = upstream(t, func(w http.ResponseWriter, r *http.Request) {
		u.asked.Add(1)
		wantsStream(r)
		if first != nil {
			first(w)
		}
		u.begun <- struct{}{}
		<-r.Context().Done()
		u.gone <- time.Now()
	})
	return u
}

// soon is how long something may take that has to be done within a second, on a machine that does much else.
const soon = 15 * time.Second

func (u *patient) await(t *testing.T) {
	t.Helper()
	select {
	case <-u.begun:
	case <-time.After(soon):
		t.Fatal("the provider is not asked")
	}
}

// left waits until the gateway has closed the connection, and returns how long that took.
func (u *patient) left(t *testing.T, since time.Time) time.Duration {
	t.Helper()
	select {
	case at := <-u.gone:
		return at.Sub(since)
	case <-time.After(soon):
		t.Fatal("the provider goes on")
		return 0
	}
}

// checkSoon fails if it took longer than a second, where nothing else is going on.
func checkSoon(t *testing.T, took time.Duration) {
	t.Helper()
	t.Logf("closed after %v", took.Round(100*time.Microsecond))
	if os.Getenv("LLMGATEWAY_SOAK") != "" && took > time.Second {
		t.Errorf("closed after %v", took)
	}
}

// leaver is a client that has asked and may leave.
type leaver struct {
	leave context.CancelFunc
	ended chan error
}

// askAndLeave asks. Once words of a stream have come, has is closed.
func (g *gateway) askAndLeave(t *testing.T, client *http.Client, body string, words int) (l leaver, has chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	l, has = leaver{cancel, make(chan error, 1)}, make(chan struct{})
	go func() {
		s, err := g.open(ctx, client, body)
		if err == nil {
			defer s.resp.Body.Close()
			for range words {
				err = errors.Join(err, s.word())
			}
			close(has)
			_, more := s.rest()
			err = errors.Join(err, more)
		}
		l.ended <- err
	}()
	return l, has
}

// Whenever a client leaves, whoever works for it stops, nobody else is asked, and it is nobody's failure.
func TestGenerationStopsWhenItsClientLeaves(t *testing.T) {
	two := func(w http.ResponseWriter) { sayRole(w); count(w, "first", 1, 2) }
	cut := func(w http.ResponseWriter, r *http.Request, _ int) {
		wantsStream(r)
		two(w)
		panic(http.ErrAbortHandler)
	}
	tests := []struct {
		name    string
		stream  bool
		words   int // that the client waits for
		broken  play
		waiting int // upstreams that are asked, and wait
		says    func(http.ResponseWriter)
		options string
	}{
		{"a stream before its first token", true, 0, nil, 1, nil, ""},
		{"an answer before its first byte", false, 0, nil, 1, nil, ""},
		{"an answer that is being sent", false, 0, nil, 1, func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"choices":[`))
			_ = http.NewResponseController(w).Flush()
		}, ""},
		{"a stream after its first token", true, 2, nil, 1, two, ""},
		{"a stream under deadlines", true, 2, nil, 1, two, "deadlines"},
		{"a merged answer before its first token", false, 0, nil, 1, nil, "deadlines"},
		{"a merged answer after its first token", false, 0, nil, 1, two, "deadlines"},
		{"a second try", true, 0, fails(503, "no"), 1, nil, ""},
		{"two at once, streamed", true, 0, nil, 2, nil, "hedge_after 20ms\nhedge_budget 100%"},
		{"two at once", false, 0, nil, 2, nil, "hedge_after 20ms\nhedge_budget 100%"},
		{"who finishes a stream, before it says anything", true, 2, cut, 1, nil, ""},
		{"who finishes a stream, while it repeats", true, 2, cut, 1, func(w http.ResponseWriter) { count(w, "first", 1, 1) }, ""},
		{"who finishes a stream, while it goes on", true, 3, cut, 1, func(w http.ResponseWriter) { count(w, "first", 1, 3) }, ""},
	}
	for _, protocol := range protocols[:2] {
		var site strings.Builder
		upstreams := make([][]*patient, len(tests))
		for i, test := range tests {
			to, deadlines, options := "", "", test.options
			if options == "deadlines" {
				options, deadlines = "", "first_token_timeout 5m\nstream_idle_timeout 5m"
			}
			add := func(name, url string) {
				fmt.Fprintf(&site, "provider %s openai %s\n", name, url)
				to += fmt.Sprintf("to %s {\n%s\n}\n", name, deadlines)
			}
			if test.broken != nil {
				add(fmt.Sprint("broken", i), playing(t, test.broken, new(atomic.Int64)))
			}
			for j := range test.waiting {
				u := newPatient(t, test.says)
				upstreams[i] = append(upstreams[i], u)
				add(fmt.Sprintf("waiting%d-%d", i, j), u.url)
			}
			spare := newPatient(t, nil) // who must not be asked
			upstreams[i] = append(upstreams[i], spare)
			add(fmt.Sprint("spare", i), spare.url)
			fmt.Fprintf(&site, "model m%d {\n%s%s\n}\n", i, to, options)
		}
		g := newGateway(t)
		g.start(fmt.Sprintf("log_append outcome {http.llm.status}\nllm {\nresume on\nfail_duration 10m\n%s}", &site))
		client := g.client(protocol)
		for i, test := range tests {
			asked, spare := upstreams[i][:test.waiting], upstreams[i][test.waiting]
			t.Run(test.name+" "+protocol, func(t *testing.T) {
				l, has := g.askAndLeave(t, client, chat(fmt.Sprint("m", i), "hello", test.stream), test.words)
				for _, u := range asked {
					u.await(t)
				}
				if test.words > 0 {
					<-has
				}
				left := time.Now()
				l.leave()
				var slowest time.Duration
				for _, u := range asked {
					slowest = max(slowest, u.left(t, left))
				}
				checkSoon(t, slowest)
				if err := <-l.ended; err == nil {
					t.Error("the client got a whole answer")
				}
				await(t, "the end of the request", func() bool { return g.handled() == i+1 })
				if n := spare.asked.Load(); n > 0 {
					t.Errorf("the next target was asked %d times", n)
				}
			})
		}
		g.checkNobodyFailed(t)
	}
}

// checkNobodyFailed checks that all requests ended because their clients left, and that nobody but those called broken failed.
func (g *gateway) checkNobodyFailed(t *testing.T) {
	t.Helper()
	for _, entry := range g.logged("handled request") {
		if fmt.Sprint(entry["outcome"]) != "499" {
			t.Errorf("the log has the status %v", entry["outcome"])
		}
	}
	for _, message := range []string{"target is down", "target did not answer"} {
		for _, entry := range g.logged(message) {
			if provider, _ := entry["provider"].(string); !strings.HasPrefix(provider, "broken") && entry["level"] != "debug" {
				t.Errorf("%s: %v", message, entry)
			}
		}
	}
}

// A client that waits in the queue of a local model leaves it at once, and nobody else is asked.
func TestQueueIsLeftWithTheClient(t *testing.T) {
	spare := newPatient(t, nil)
	g := newGateway(t)
	g.start(fmt.Sprintf("log_append outcome {http.llm.status}\nllm {\nprovider near llamacpp %q {\nn_ctx 512\nn_parallel 1\nmax_queue 4\n}\nprovider spare openai %s\nmodel m {\nto near spare\n}\nfail_duration 10m\n}",
		starterModel(t), spare.url))
	client := g.client("HTTP/2.0")
	ask := func() error {
		a, err := g.ask(t.Context(), client, chat("m", "hello", false, `"max_tokens":4`))
		if err == nil && (a.status != http.StatusOK || a.header.Get("X-LLM-Provider") != "near") {
			err = fmt.Errorf("got %v", a)
		}
		return err
	}
	if err := ask(); err != nil { // loads the model
		t.Fatal(err)
	}
	queue := func(running, waiting int) func() bool {
		return func() bool {
			engines := g.engines()
			return len(engines) == 1 && len(engines[0].Queue.Running) == running && len(engines[0].Queue.Waiting) == waiting
		}
	}
	resume := pause(t, g.server())
	stays := make(chan error, 1)
	go func() { stays <- ask() }()
	await(t, "a request in the slot", queue(1, 0))
	for i, protocol := range protocols[:2] {
		for j, stream := range []bool{true, false} {
			l, _ := g.askAndLeave(t, g.client(protocol), chat("m", "hello", stream), 0)
			await(t, "a request in the queue", queue(1, 1))
			left := time.Now()
			l.leave()
			await(t, "an empty queue", queue(1, 0))
			checkSoon(t, time.Since(left))
			if err := <-l.ended; err == nil {
				t.Error("the client got a whole answer")
			}
			await(t, "the end of the request", func() bool { return g.handled() == 2+2*i+j })
		}
	}
	resume()
	if err := <-stays; err != nil {
		t.Error(err)
	}
	if n := spare.asked.Load(); n > 0 {
		t.Errorf("the next target was asked %d times", n)
	}
	await(t, "the end of all requests", func() bool { return g.handled() == 6 })
	for i, entry := range g.logged("handled request") {
		if want := map[bool]string{true: "200", false: "499"}[i == 0 || i == 5]; fmt.Sprint(entry["outcome"]) != want {
			t.Errorf("request %d: the log has the status %v", i, entry["outcome"])
		}
	}
}

// A pause before another try ends when the client leaves, and nobody is asked any more.
func TestPauseEndsWhenTheClientLeaves(t *testing.T) {
	var asked atomic.Int64
	url := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		wantsStream(r)
		w.Header().Set("Retry-After", "8")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	g := newGateway(t)
	g.start(fmt.Sprintf("log_append outcome {http.llm.status}\nllm {\nlb_retries 5\nprovider a openai %s\nmodel m {\nto a\n}\n}", url))
	for i, protocol := range protocols[:2] {
		l, _ := g.askAndLeave(t, g.client(protocol), chat("m", "hello", i == 0), 0)
		await(t, "a first try", func() bool { return asked.Load() == int64(i+1) && len(g.logged("target did not answer")) == i+1 })
		left := time.Now()
		l.leave()
		await(t, "the end of the request", func() bool { return g.handled() == i+1 })
		checkSoon(t, time.Since(left))
		if time.Since(left) > 7*time.Second {
			t.Error("the pause was waited for")
		}
	}
	if asked.Load() != 2 {
		t.Errorf("asked %d times", asked.Load())
	}
	for _, entry := range g.logged("handled request") {
		if fmt.Sprint(entry["outcome"]) != "499" {
			t.Errorf("the log has the status %v", entry["outcome"])
		}
	}
}

// A generation that several share goes on until the last of them has left.
func TestSharedGenerationStopsWhenItsLastClientLeaves(t *testing.T) {
	u := newPatient(t, func(w http.ResponseWriter) { sayRole(w); count(w, "first", 1, 2) })
	g := newGateway(t)
	site := cachedSite(u.url, "memory")
	g.start("log_append outcome {http.llm.status}\n" + strings.Replace(site, "to far", "to far {\nfirst_token_timeout 5m\n}\nfail_duration 10m", 1))
	for i, protocol := range protocols[:2] {
		t.Run(protocol, func(t *testing.T) {
			before := g.handled()
			body := chat("m", fmt.Sprint("hello ", i), true)
			first, has := g.askAndLeave(t, g.client(protocol), body, 2)
			u.await(t)
			<-has
			second, has := g.askAndLeave(t, g.client(protocol), body, 2)
			<-has
			first.leave()
			if err := <-first.ended; err == nil {
				t.Error("a request whose client left was answered")
			}
			await(t, "the end of the first request", func() bool { return g.handled() == before+1 })
			select {
			case <-u.gone:
				t.Fatal("it ended with its first client")
			case <-time.After(50 * time.Millisecond):
			}
			left := time.Now()
			second.leave()
			checkSoon(t, u.left(t, left))
			if err := <-second.ended; err == nil {
				t.Error("a request whose client left was answered")
			}
			await(t, "the end of the second request", func() bool { return g.handled() == before+2 })
		})
		t.Run(protocol+" alone, without a stream", func(t *testing.T) {
			before := g.handled()
			only, _ := g.askAndLeave(t, g.client(protocol), chat("m", fmt.Sprint("hi ", i), false), 0)
			u.await(t)
			left := time.Now()
			only.leave()
			checkSoon(t, u.left(t, left))
			if err := <-only.ended; err == nil {
				t.Error("a request whose client left was answered")
			}
			await(t, "the end of the request", func() bool { return g.handled() == before+1 })
		})
	}
	if n := u.asked.Load(); n != 4 {
		t.Errorf("asked %d times", n)
	}
	g.checkNobodyFailed(t)
}
