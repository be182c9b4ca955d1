package local

import (
	"context"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/route"
)

// client is somebody who talks to a slow model.
type client struct {
	t        *testing.T
	p        llmgateway.Provider
	messages []string
}

// request returns the next turn, with so many bytes of new text.
func (c *client) request(bytes, maxTokens int, stream bool) *llmgateway.Request {
	c.t.Helper()
	// Two texts that begin alike would find each other in the cache.
	text := fmt.Sprintf("%016x", rand.Uint64()) + strings.Repeat("x", bytes-16)
	c.messages = append(c.messages, fmt.Sprintf(`{"role":"user","content":%q}`, text))
	return ask(c.t, llmgateway.Chat, `{"model":"m","stream":%t,"max_tokens":%d,"messages":[%s]}`,
		stream, maxTokens, strings.Join(c.messages, ","))
}

// run runs a request to its end, and calls begun when its first token comes. It returns how long that took.
func (c *client) run(ctx context.Context, req *llmgateway.Request, begun func()) (first time.Duration, err error) {
	began := time.Now()
	words := 0
	for event, err := range c.p.Generate(ctx, req) {
		if err != nil {
			return 0, err
		}
		if event.Carries && first == 0 {
			first = time.Since(began)
			begun()
		}
		words += strings.Count(string(event.Data), "word")
	}
	c.messages = append(c.messages, fmt.Sprintf(`{"role":"assistant","content":%q}`, strings.Repeat("word", words)))
	return first, nil
}

// foresee returns how long req would wait for its first token if it came now.
func foresee(t *testing.T, e *Engine, req *llmgateway.Request) time.Duration {
	t.Helper()
	j, err := newJob(req, e.key.slots(), true)
	if err != nil {
		t.Fatal(err)
	}
	loading := e.loadingLeft()
	e.queue.mu.Lock()
	defer e.queue.mu.Unlock()
	wait, known := e.queue.expect(j, time.Now(), loading)
	if !known {
		t.Fatal("it is not known how long a request waits")
	}
	return wait
}

// warmUp has a slow engine measure itself.
func warmUp(t *testing.T, p *Provider) {
	t.Helper()
	for _, bytes := range []int{400, 3000, 1200} {
		c := &client{t: t, p: p}
		if _, err := c.run(t.Context(), c.request(bytes, 8, true), func() {}); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for range p.Engine.key.slots() {
		c := &client{t: t, p: p}
		req := c.request(300, 12, true)
		wg.Go(func() {
			if _, err := c.run(t.Context(), req, func() {}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestForecastsComeTrue compares forecasts with what happens, for short and long prompts, cached or not, with and without
// others that run or wait.
func TestForecastsComeTrue(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, slots := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d slots", slots), func(t *testing.T) {
			e := engine(t, func(c *Config) { c.NParallel, c.NBatch = slots, slowBatch }, "--pace", "2500/80")
			p := &Provider{Engine: e, MaxQueue: 10, MaxWait: time.Hour}
			warmUp(t, p)
			var mu sync.Mutex
			var errors []float64
			check := func(what string, got, want time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				wrong := math.Abs(float64(got-want)) / float64(want)
				errors = append(errors, wrong)
				t.Logf("%-40s expected %4d ms, took %4d ms, %3.0f %% off", what, got.Milliseconds(), want.Milliseconds(), 100*wrong)
				const noise = 40 * time.Millisecond // of the machine
				if wrong > 0.3 && (got-want).Abs() > noise {
					t.Errorf("%s: expected %v, took %v", what, got, want)
				}
			}
			regulars := []*client{{t: t, p: p}, {t: t, p: p}}
			for round := range 9 {
				var wg sync.WaitGroup
				ahead := round % 4
				for i := range ahead {
					c := &client{t: t, p: p}
					req := c.request(400+1500*((round+i)%3), 10+8*(i%2), true)
					wg.Go(func() {
						if _, err := c.run(t.Context(), req, func() {}); err != nil {
							t.Error(err)
						}
					})
					time.Sleep(time.Duration(5+rand.IntN(40)) * time.Millisecond)
				}
				c, kind := regulars[round%2], "known"
				if round%3 == 2 {
					c, kind = &client{t: t, p: p}, "new"
				}
				bytes := 1200 + 2400*(round/2%2)
				req := c.request(bytes, 10, round%5 != 4 || slots > 1)
				guess := foresee(t, e, req)
				first, err := c.run(t.Context(), req, func() {})
				if err != nil {
					t.Fatal(err)
				}
				if !req.Stream { // the first token of an answer that is not streamed cannot be seen
					first -= 9 * time.Second / 80
				}
				check(fmt.Sprintf("%d ahead, a %s client's %d bytes", ahead, kind, bytes), guess, first)
				wg.Wait()
			}
			slices.Sort(errors)
			t.Logf("median: %.0f %% off, worst: %.0f %%", 100*errors[len(errors)/2], 100*errors[len(errors)-1])
		})
	}
}

// other is a second target.
type other struct{}

func (other) Generate(context.Context, *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		yield(llmgateway.Event{Data: []byte(`{"choices":[]}`), Carries: true, FinishReason: "stop"}, nil)
	}
}

// foreseen is a provider that notes what was expected of each request right before it came.
type foreseen struct {
	*Provider
	t *testing.T

	mu      sync.Mutex
	guesses map[*llmgateway.Body]time.Duration
}

func (f *foreseen) Generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	guess := foresee(f.t, f.Engine, req)
	f.mu.Lock()
	f.guesses[req.Body] = guess
	f.mu.Unlock()
	return f.Provider.Generate(ctx, req)
}

// TestRequestsGoElsewhereExactlyWhenTheyWouldWaitTooLong compares forecasts with what the router does.
func TestRequestsGoElsewhereExactlyWhenTheyWouldWaitTooLong(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const maxWait = 400 * time.Millisecond
	e := engine(t, nil, "--pace", "2500/80")
	warmUp(t, &Provider{Engine: e, MaxQueue: 10})
	local := &foreseen{Provider: &Provider{Engine: e, MaxQueue: 10, MaxWait: maxWait}, t: t, guesses: map[*llmgateway.Body]time.Duration{}}
	router := &route.Router{Retries: -1, Targets: []*route.Target{{Name: "local", Provider: local}, {Name: "other", Provider: other{}}}}
	var mu sync.Mutex
	count := map[string]int{}
	var wg sync.WaitGroup
	for i := range 30 {
		c := &client{t: t, p: router}
		req := c.request(400+2000*(i%3), 4+10*(i%2), true)
		wg.Go(func() {
			var aside error
			ctx := llmgateway.WithTrace(t.Context(), &llmgateway.Trace{Tried: func(a llmgateway.Attempt) { aside = a.Err }})
			first, err := c.run(ctx, req, func() {})
			if err != nil {
				t.Error(err)
				return
			}
			local.mu.Lock()
			guess := local.guesses[req.Body]
			local.mu.Unlock()
			mu.Lock()
			defer mu.Unlock()
			switch nearly := guess > maxWait*95/100 && guess < maxWait*105/100; aside {
			case nil:
				count["local"]++
				if guess > maxWait && !nearly {
					t.Errorf("a request that would wait %v was not sent elsewhere", guess)
				}
				const noise = 100 * time.Millisecond // of the machine
				if float64(first) > 1.3*float64(maxWait)+float64(noise) {
					t.Errorf("a request that was not sent elsewhere was expected to wait %v, and waited %v", guess, first)
				}
			default:
				count["other"]++
				wantOverloaded(t, aside, "the local model would need about ")
				if llmgateway.AsError(aside).RetryAfter <= 0 {
					t.Error("nothing says when to try again")
				}
				if guess <= maxWait && !nearly {
					t.Errorf("a request that would wait %v was sent elsewhere", guess)
				}
			}
		})
		time.Sleep(time.Duration(20+rand.IntN(150)) * time.Millisecond)
	}
	wg.Wait()
	t.Logf("answered by: %v", count)
	if count["local"] < 3 || count["other"] < 3 {
		t.Error("there are too few of one kind to tell anything")
	}
}

func TestNobodyIsSentAwayBeforeThereAreMeasurements(t *testing.T) {
	p := &Provider{Engine: engine(t, nil, "--load", "50ms"), MaxQueue: 10, MaxWait: time.Nanosecond}
	if _, err := generate(t.Context(), p, request(t, "")); err != nil {
		t.Error(err)
	}
}

func TestLoadingCountsAsWaiting(t *testing.T) {
	e := engine(t, nil, "--pace", "2500/80", "--load", "600ms")
	p := &Provider{Engine: e, MaxQueue: 10}
	warmUp(t, p)
	kill(t, e)
	eventually(t, "loading", func() bool { return e.Status().State == llmgateway.StateLoading })
	p.MaxWait = 300 * time.Millisecond
	c := &client{t: t, p: p}
	req := c.request(400, 4, true)
	_, err := c.run(t.Context(), req, func() {})
	wantOverloaded(t, err, "the local model would need about ")
	eventually(t, "ready", func() bool { return e.Status().State == llmgateway.StateReady })
	if _, err := c.run(t.Context(), req, func() {}); err != nil {
		t.Errorf("when it is loaded: %v", err)
	}
}

// TestModelIsLoadedForThoseWhoWillNotWaitForIt sends a request away from a model that is not loaded.
func TestModelIsLoadedForThoseWhoWillNotWaitForIt(t *testing.T) {
	e := engine(t, nil, "--pace", "2500/80", "--load", "500ms")
	withdraw := e.KeepAlive(time.Millisecond)
	defer withdraw()
	p := &Provider{Engine: e, MaxQueue: 10}
	warmUp(t, p)
	eventually(t, "idle", func() bool { return e.Status().State == llmgateway.StateIdle && pid(e) == 0 })
	e.KeepAlive(0)
	p.MaxWait = 300 * time.Millisecond
	c := &client{t: t, p: p}
	_, err := c.run(t.Context(), c.request(400, 4, true), func() {})
	wantOverloaded(t, err, "the local model would need about ")
	eventually(t, "ready", func() bool { return e.Status().State == llmgateway.StateReady })
}

func TestReportTellsWhatIsExpected(t *testing.T) {
	e := engine(t, nil, "--pace", "2500/80")
	p := &Provider{Engine: e, MaxQueue: 10, MaxWait: time.Hour}
	if got := e.Queue(); got.ExpectedWait != nil || got.PromptSpeed != 0 || got.Free != 1 {
		t.Errorf("before there are measurements: got %+v", got)
	}
	warmUp(t, p)
	var wg sync.WaitGroup
	for i := range 3 {
		c := &client{t: t, p: p}
		req := c.request(2000, 20, true)
		wg.Go(func() { _, _ = c.run(t.Context(), req, func() {}) })
		eventually(t, "its place in line", func() bool {
			q := e.Queue()
			return len(q.Running)+len(q.Waiting) == i+1
		})
	}
	q := e.Queue()
	if !near(q.PromptSpeed, 2500, 0.5) || !near(q.GenerationSpeed, 80, 0.5) {
		t.Errorf("speeds: got %.0f and %.0f, want about 2500 and 80", q.PromptSpeed, q.GenerationSpeed)
	}
	if len(q.Running) != 1 || len(q.Waiting) != 2 || q.ExpectedWait == nil {
		t.Fatalf("got %+v", q)
	}
	if !near(float64(q.Waiting[0].PromptTokens), 500, 0.2) {
		t.Errorf("got a prompt of %d tokens, want about 500", q.Waiting[0].PromptTokens)
	}
	first, second := q.Waiting[0].FirstToken, q.Waiting[1].FirstToken
	if first == nil || second == nil || *first >= *second || *second >= *q.ExpectedWait {
		t.Errorf("the first tokens are expected after %v, %v, a slot after %v", first, second, *q.ExpectedWait)
	}
	wg.Wait()
}

// BenchmarkForecast plays through a full queue.
func BenchmarkForecast(b *testing.B) {
	q := newQueue(4, 512)
	now := time.Now()
	q.meter.prompt.add(newWork(1000, 0), 1)
	q.meter.step.add(1, 0.02)
	q.meter.tokens.add(4000, 1000)
	for i := range 68 {
		body := fmt.Sprintf(`{"model":"m","max_tokens":%d,"messages":[%s]}`, 100+i, messages("s", fmt.Sprint("u", i), "a", "u"))
		req, err := readRequest(llmgateway.Chat, body)
		if err != nil {
			b.Fatal(err)
		}
		j, err := newJob(req, 4, true)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := q.line(j, limits{maxQueue: 64}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, known := q.forecast(nil, now, 0); !known {
			b.Fatal("not known")
		}
	}
}
