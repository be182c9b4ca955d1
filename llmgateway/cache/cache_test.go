package cache

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// read makes a chat request.
func read(t testing.TB, body string) *llmgateway.Request {
	t.Helper()
	req, err := openai.Read(llmgateway.Chat, llmgateway.NewBody([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func chat(t testing.TB, prompt string, stream bool) *llmgateway.Request {
	t.Helper()
	return read(t, fmt.Sprintf(`{"model":"m","stream":%t,"messages":[{"role":"user","content":%q}]}`, stream, prompt))
}

// model is a Generator that says each word after a signal, or at once without signals.
type model struct {
	words  []string
	turns  chan struct{}
	fail   error
	asked  atomic.Int64
	ending atomic.Int64
}

func (m *model) generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	m.asked.Add(1)
	return func(yield func(llmgateway.Event, error) bool) {
		defer m.ending.Add(1)
		if !req.Stream {
			if m.fail != nil {
				yield(llmgateway.Event{}, m.fail)
				return
			}
			data := fmt.Appendf(nil, `{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}`, strings.Join(m.words, ""))
			yield(llmgateway.Event{Data: data, Carries: true, Whole: true, FinishReason: "stop", Usage: &llmgateway.Usage{PromptTokens: 1, CompletionTokens: 2, TotalTokens: 3}}, nil)
			return
		}
		var buffer []byte // of all events, as of a real client
		say := func(delta, finish string) bool {
			buffer = fmt.Appendf(buffer[:0], `{"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":%s,"finish_reason":%s}]}`, delta, finish)
			return yield(llmgateway.Event{Data: buffer, Carries: true, FinishReason: strings.Trim(strings.TrimPrefix(finish, "null"), `"`)}, nil)
		}
		for _, word := range m.words {
			if m.turns != nil {
				select {
				case <-m.turns:
				case <-ctx.Done():
					yield(llmgateway.Event{}, context.Cause(ctx))
					return
				}
			}
			if !say(fmt.Sprintf(`{"content":%q}`, word), "null") {
				return
			}
		}
		if m.fail != nil {
			yield(llmgateway.Event{}, m.fail)
			return
		}
		say(`{}`, `"stop"`)
	}
}

// text reads an answer to its end.
func text(events iter.Seq2[llmgateway.Event, error]) (string, error) {
	var all strings.Builder
	for event, err := range events {
		if err != nil {
			return all.String(), err
		}
		path := "choices.0.delta.content"
		if event.Whole {
			path = "choices.0.message.content"
		}
		all.WriteString(gjson.GetBytes(event.Data, path).String())
	}
	return all.String(), nil
}

func newCache(t testing.TB) *Cache {
	t.Helper()
	store, err := NewMemory(1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return &Cache{Store: store, Policy: Policy{TTL: time.Minute, MaxAnswerBytes: 1 << 16}}
}

// watch returns a context whose requests tell how the cache was used.
func watch(t *testing.T, uses *[]string) context.Context {
	t.Helper()
	return llmgateway.WithTrace(t.Context(), &llmgateway.Trace{Cached: func(use llmgateway.CacheUse) {
		*uses = append(*uses, string(use.Result))
	}})
}

func TestEqualRequestIsAnsweredFromTheCacheInEitherMode(t *testing.T) {
	for _, first := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c, m := newCache(t), &model{words: []string{"all ", "is ", "well"}}
			var uses []string
			for i, streamed := range []bool{first, true, false} {
				got, err := text(c.Generate(watch(t, &uses), Scope{}, chat(t, "hello", streamed), m.generate))
				if got != "all is well" || err != nil {
					t.Errorf("request %d: got %q, %v", i, got, err)
				}
				synctest.Wait() // until it is kept
			}
			if m.asked.Load() != 1 || strings.Join(uses, " ") != "miss hit hit" {
				t.Errorf("the model was asked %d times, the cache was used so: %v", m.asked.Load(), uses)
			}
		})
	}
}

func TestWhatChangesTheAnswerIsInTheKey(t *testing.T) {
	const base = `{"model":"m","messages":[{"role":"user","content":"a"}],"temperature":0.5}`
	key := ownKeys().Of(Scope{Tenant: "t", Provider: "p", Model: "m"}, read(t, base))
	for name, body := range map[string]string{
		"order":    `{"temperature":0.5,"messages":[{"role":"user","content":"a"}],"model":"m"}`,
		"space":    "{ \"model\" : \"m\",\n\"messages\": [ {\"role\": \"user\", \"content\":\t\"a\"}], \"temperature\": 0.5 }",
		"stream":   `{"model":"other","messages":[{"role":"user","content":"a"}],"temperature":0.5,"stream":true,"user":"u","metadata":{}}`,
		"named":    `{"model":"m","messages":[{"role":"user","content":"a"}],"temperature":0.5,"provider":"p"}`,
		"repeated": `{"model":"m","temperature":1,"messages":[{"role":"user","content":"a"}],"temperature":0.5}`,
	} {
		if ownKeys().Of(Scope{Tenant: "t", Provider: "p", Model: "m"}, read(t, body)) != key {
			t.Errorf("%s: another key", name)
		}
	}
	seen := map[Key]string{key: "the first"}
	for name, body := range map[string]string{
		"text":         `{"model":"m","messages":[{"role":"user","content":"b"}],"temperature":0.5}`,
		"space within": `{"model":"m","messages":[{"role":"user","content":"a "}],"temperature":0.5}`,
		"number":       `{"model":"m","messages":[{"role":"user","content":"a"}],"temperature":0.6}`,
		"tools":        `{"model":"m","messages":[{"role":"user","content":"a"}],"temperature":0.5,"tools":[]}`,
		"format":       `{"model":"m","messages":[{"role":"user","content":"a"}],"temperature":0.5,"response_format":{"type":"json_object"}}`,
		"preferences":  `{"model":"m","messages":[{"role":"user","content":"a"}],"temperature":0.5,"provider":{"order":["x"]}}`,
		"unknown":      `{"model":"m","messages":[{"role":"user","content":"a"}],"temperature":0.5,"x":1}`,
		"long text":    `{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("a", 600) + `"}],"temperature":0.5}`,
		"longer text":  `{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("a", 601) + `"}],"temperature":0.5}`,
		"image":        `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}],"temperature":0.5}`,
	} {
		another := ownKeys().Of(Scope{Tenant: "t", Provider: "p", Model: "m"}, read(t, body))
		if seen[another] != "" {
			t.Errorf("%s: the same key as of %s", name, seen[another])
		}
		seen[another] = name
	}
	forwarded := read(t, base)
	forwarded.Forward = http.Header{"Anthropic-Beta": {"context-1m"}}
	if ownKeys().Of(Scope{Tenant: "t", Provider: "p", Model: "m"}, forwarded) == key {
		t.Error("a header that goes to the provider is not in the key")
	}
	for name, scope := range map[string]Scope{
		"tenant": {"u", "p", "m"}, "provider": {"t", "q", "m"}, "model": {"t", "p", "n"}, "shifted": {"tp", "", "m"},
	} {
		if ownKeys().Of(scope, read(t, base)) == key {
			t.Errorf("%s: the same key", name)
		}
	}
}

func TestBrokenAnswerIsNotKept(t *testing.T) {
	for _, streamed := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c, m := newCache(t), &model{words: []string{"half"}, fail: errors.New("cut")}
			for range 2 {
				if _, err := text(c.Generate(t.Context(), Scope{}, chat(t, "hello", streamed), m.generate)); !errors.Is(err, m.fail) {
					t.Errorf("got %v", err)
				}
				synctest.Wait()
			}
			if m.asked.Load() != 2 {
				t.Errorf("the model was asked %d times, want 2", m.asked.Load())
			}
		})
	}
}

func TestAnswersGetOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newCache(t), &model{words: []string{"x"}}
		ask := func(want int64, control llmgateway.CacheControl) {
			t.Helper()
			req := chat(t, "hello", true)
			req.Cache = control
			if _, err := text(c.Generate(t.Context(), Scope{}, req, m.generate)); err != nil || m.asked.Load() != want {
				t.Errorf("the model was asked %d times, want %d; %v", m.asked.Load(), want, err)
			}
			synctest.Wait()
		}
		ask(1, llmgateway.CacheControl{})
		time.Sleep(30 * time.Second)
		ask(1, llmgateway.CacheControl{MaxAge: 40 * time.Second})
		ask(2, llmgateway.CacheControl{MaxAge: 20 * time.Second})
		ask(3, llmgateway.CacheControl{NoCache: true})
		ask(3, llmgateway.CacheControl{})
		time.Sleep(c.Policy.TTL)
		ask(4, llmgateway.CacheControl{NoStore: true})
		ask(5, llmgateway.CacheControl{})
	})
}

func TestEqualRequestsShareOneGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newCache(t), &model{words: []string{"one ", "two ", "three"}, turns: make(chan struct{})}
		leaving, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range 10 {
			ctx := t.Context()
			if i%5 == 0 { // the first is among them
				ctx = leaving
			}
			all.Go(func() {
				got, err := text(c.Generate(ctx, Scope{}, chat(t, "hello", i%2 == 0), m.generate))
				if ctx != leaving && (got != "one two three" || err != nil) {
					t.Errorf("request %d: got %q, %v", i, got, err)
				}
				if ctx == leaving && !errors.Is(err, context.Canceled) {
					t.Errorf("request %d left, and got %q, %v", i, got, err)
				}
			})
			synctest.Wait()
		}
		m.turns <- struct{}{}
		synctest.Wait()
		leave()
		synctest.Wait()
		m.turns <- struct{}{}
		m.turns <- struct{}{}
		all.Wait()
		if m.asked.Load() != 1 {
			t.Errorf("the model was asked %d times", m.asked.Load())
		}
	})
}

func TestGenerationEndsWithItsLastPassenger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newCache(t), &model{words: []string{"one ", "two"}, turns: make(chan struct{})}
		ctx, leave := context.WithCancel(t.Context())
		for range 3 {
			go func() { _, _ = text(c.Generate(ctx, Scope{}, chat(t, "hello", true), m.generate)) }()
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		if m.asked.Load() != 1 || m.ending.Load() != 1 {
			t.Errorf("asked %d times, ended %d times", m.asked.Load(), m.ending.Load())
		}
		go func() { _, _ = text(c.Generate(t.Context(), Scope{}, chat(t, "hello", true), m.generate)) }()
		m.turns <- struct{}{}
		m.turns <- struct{}{}
		if synctest.Wait(); m.asked.Load() != 2 {
			t.Error("the next request joined a generation that was given up")
		}
	})
}

// An answer that is too large goes through with bounded memory, at the pace of who reads it.
func TestAnswerTooLargeToKeepIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t)
		c.Policy.MaxAnswerBytes = 2000
		words := strings.SplitAfter(strings.Repeat("word ", 1000), " ")
		m := &model{words: words}
		events, stop := iter.Pull2(c.Generate(t.Context(), Scope{}, chat(t, "hello", true), m.generate))
		defer stop()
		if _, err, ok := events(); err != nil || !ok {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, f := range c.flights.byKey {
			t.Errorf("a flight of %d bytes can still be joined", f.size)
		}
		n := 1
		for _, err, ok := events(); ok; _, err, ok = events() {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if want := len(words) + 1; n != want {
			t.Errorf("got %d events, want %d", n, want)
		}
		if answers, _ := c.Store.(*Memory).Use(); answers != 0 {
			t.Error("it was kept")
		}
	})
}

func TestOnlyDeterministicRequestsAreKeptIfSoConfigured(t *testing.T) {
	for body, want := range map[string]bool{
		`{"model":"m"}`:                    false,
		`{"model":"m","temperature":1}`:    false,
		`{"model":"m","temperature":null}`: false,
		`{"model":"m","seed":null}`:        false,
		`{"model":"m","temperature":0}`:    true,
		`{"model":"m","temperature":0.0}`:  true,
		`{"model":"m","seed":7}`:           true,
		`{"model":"m","temperature":"0"}`:  false,
	} {
		if got := deterministic(read(t, body)); got != want {
			t.Errorf("%s: got %t", body, got)
		}
	}
}

func TestMemoryHoldsNoMoreThanItMay(t *testing.T) {
	for name, test := range map[string]struct {
		sizeBytes int64
		answers   int
		want      int
	}{
		"bytes":   {100 * 1200, 0, 100},
		"answers": {1 << 20, 10, 10},
	} {
		m, err := NewMemory(test.sizeBytes, test.answers)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		for i := range 1000 {
			m.Put(t.Context(), Key{byte(i), byte(i >> 8)}, make([]byte, 1000), time.Hour)
		}
		m.cache.CleanUp()
		if got, bytes := m.Use(); got > test.want || got < test.want/2 || bytes > test.sizeBytes {
			t.Errorf("%s: got %d answers in %d bytes, want %d", name, got, bytes, test.want)
		}
		m.Resize(0, 0)
		m.cache.CleanUp()
		if got, _ := m.Use(); got != 0 {
			t.Errorf("%s: %d answers are left in no room", name, got)
		}
	}
}

// stored returns an answer as it is in a store.
func stored(a Answer) []byte {
	var r recording
	for _, event := range a.Events {
		r.add(event)
	}
	return r.stored(a.Created)
}

func TestStoredAnswerComesBackAsItWas(t *testing.T) {
	cost := 0.25
	a := Answer{Created: time.Unix(1, 0), Events: []llmgateway.Event{
		{Data: []byte(`{"a":1}`), Carries: true, More: true},
		{Data: []byte("{}"), Native: true, More: true, Usage: &llmgateway.Usage{PromptTokens: 1}},
		{
			Data: []byte(`{"b":2}`), Whole: true, FinishReason: "stop",
			Usage: &llmgateway.Usage{PromptTokens: 5, CompletionTokens: 4, TotalTokens: 9, CachedTokens: 3, ReasoningTokens: 2, Cost: &cost},
		},
	}}
	var back Answer
	if err := back.UnmarshalBinary(stored(a)); err != nil || !reflect.DeepEqual(a, back) {
		t.Errorf("%v: %+v became %+v", err, a, back)
	}
}

func FuzzStoredAnswer(f *testing.F) {
	a := Answer{Created: time.Unix(1, 0), Events: []llmgateway.Event{
		{Data: []byte(`{"a":1}`), Carries: true}, {Data: []byte("{}"), FinishReason: "stop", Usage: &llmgateway.Usage{TotalTokens: 3}},
	}}
	f.Add(stored(a))
	f.Fuzz(func(t *testing.T, b []byte) {
		var a Answer
		if a.UnmarshalBinary(b) != nil {
			return
		}
		var b2 Answer
		if err := b2.UnmarshalBinary(stored(a)); err != nil || len(b2.Events) != len(a.Events) {
			t.Errorf("%v: %d events became %d", err, len(a.Events), len(b2.Events))
		}
	})
}

func BenchmarkKeyOfAMegabyte(b *testing.B) {
	req := read(b, `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,`+strings.Repeat("QUJD", 1<<18)+`"}}]}]}`)
	b.SetBytes(int64(len(req.Body.Bytes)))
	for b.Loop() {
		ownKeys().Of(Scope{}, req)
	}
}
