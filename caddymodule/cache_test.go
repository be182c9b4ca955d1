package caddymodule

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/redis/redistest"
)

// countingUpstream answers as good does, and counts.
func countingUpstream(t *testing.T) (url string, asked *atomic.Int64) {
	asked = new(atomic.Int64)
	return upstream(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		good(w, r)
	}), asked
}

// cachedSite returns a site with a cache, where a header names the user.
func cachedSite(url, store string) string {
	return fmt.Sprintf("map {header.X-User} {http.auth.user.id} {\n~^(.+)$ $1\ndefault nobody\n}\nllm {\nprovider far openai %s\nmodel m {\nto far\n}\ncache %s\n}", url, store)
}

func TestCacheAnswersEveryProtocolAndMode(t *testing.T) {
	url, asked := countingUpstream(t)
	g := newGateway(t)
	g.start(cachedSite(url, "memory"))
	want := "MISS"
	for _, protocol := range protocols {
		client := g.client(protocol)
		for _, streamed := range []bool{true, false} {
			if streamed {
				s, err := g.open(t.Context(), client, chat("m", "hello", true))
				if err != nil {
					t.Fatal(err)
				}
				text, err := s.rest()
				if text != goodText || err != nil || s.resp.Header.Get("X-Cache") != want || s.resp.Header.Get("X-LLM-Provider") != "far" {
					t.Errorf("%s: got %q, %v, %v", protocol, text, err, s.resp.Header)
				}
			} else {
				a, err := g.ask(t.Context(), client, chat("m", "hello", false))
				if err != nil || a.text() != goodText || a.header.Get("X-Cache") != want || want == "HIT" && a.header.Get("Age") == "" {
					t.Errorf("%s: got %v, %v", protocol, a, err)
				}
			}
			want = "HIT"
			await(t, "a kept answer", func() bool {
				a, _ := g.ask(t.Context(), client, chat("m", "hello", false))
				return a.header.Get("X-Cache") == "HIT"
			})
		}
	}
	if err := g.reload(cachedSite(url, "memory {\nsize 1MiB\n}")); err != nil {
		t.Fatal(err)
	}
	if a, err := g.ask(t.Context(), g.client("HTTP/2.0"), chat("m", "hello", false)); err != nil || a.header.Get("X-Cache") != "HIT" {
		t.Errorf("after a reload: %v, %v", a, err)
	}
	if asked.Load() != 1 {
		t.Errorf("the provider was asked %d times", asked.Load())
	}
}

func TestUsersDoNotShareAnswers(t *testing.T) {
	url, asked := countingUpstream(t)
	g := newGateway(t)
	g.start(cachedSite(url, "memory"))
	client := g.client("HTTP/1.1")
	for i, user := range []string{"ann", "bob", "ann"} {
		req := g.request(t.Context(), chat("m", "hello", false))
		req.Header.Set("X-User", user)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if want := []string{"MISS", "MISS", "HIT"}[i]; resp.Header.Get("X-Cache") != want {
			t.Errorf("%s: got %s, want %s", user, resp.Header.Get("X-Cache"), want)
		}
		time.Sleep(50 * time.Millisecond) // until it is kept
	}
	if asked.Load() != 2 {
		t.Errorf("the provider was asked %d times", asked.Load())
	}
}

func TestClientsDecideAboutTheCache(t *testing.T) {
	for _, test := range []struct {
		values []string
		want   string
	}{
		{nil, "{false false 0s}"},
		{[]string{"no-cache"}, "{true false 0s}"},
		{[]string{"No-Store, max-age=60"}, "{false true 1m0s}"},
		{[]string{"max-age=0"}, "{true false 0s}"},
		{[]string{`max-age="5"`, "no-cache=\"x\"", "unknown"}, "{true false 5s}"},
		{[]string{"max-age=-1,max-age=x,max-age=99999999999999"}, "{false false 0s}"},
	} {
		if got := fmt.Sprint(cacheControl(test.values)); got != test.want {
			t.Errorf("%v: got %s, want %s", test.values, got, test.want)
		}
	}
}

// Equal requests that come together are one for the provider, over all protocols.
func TestRequestsThatComeTogetherAreOneForTheProvider(t *testing.T) {
	var asked atomic.Int64
	release := make(chan struct{})
	url := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		<-release
		good(w, r)
	})
	g := newGateway(t)
	g.start(cachedSite(url, "memory"))
	var all sync.WaitGroup
	for _, protocol := range protocols {
		client := g.client(protocol)
		for range 5 {
			all.Go(func() {
				if a, err := g.ask(t.Context(), client, chat("m", "hello", false)); err != nil || a.text() != goodText {
					t.Errorf("%s: got %v, %v", protocol, a, err)
				}
			})
		}
	}
	await(t, "a request", func() bool { return asked.Load() > 0 })
	time.Sleep(200 * time.Millisecond)
	close(release)
	all.Wait()
	if asked.Load() != 1 {
		t.Errorf("the provider was asked %d times", asked.Load())
	}
}

func TestGatewaysShareAnswersThroughRedisAndDoWithoutIt(t *testing.T) {
	url, asked := countingUpstream(t)
	address, kill := redistest.Start(t)
	gateways := []*gateway{newGateway(t), newGateway(t)}
	for _, g := range gateways {
		g.env = []string{"TEST_REDIS_URL=redis://" + address}
		g.spawn(cachedSite(url, "redis {env.TEST_REDIS_URL}"))
	}
	ask := func(g *gateway, prompt string) string {
		t.Helper()
		a, err := g.ask(t.Context(), g.client("HTTP/1.1"), chat("m", prompt, false))
		if err != nil || a.text() != goodText {
			t.Errorf("got %v, %v", a, err)
		}
		return a.header.Get("X-Cache")
	}
	if got := ask(gateways[0], "hello"); got != "MISS" {
		t.Errorf("the first gateway says %s", got)
	}
	await(t, "an answer of the first gateway in the second", func() bool { return ask(gateways[1], "hello") == "HIT" })
	before := asked.Load()
	kill()
	for _, g := range gateways {
		began := time.Now()
		for i := range 5 {
			if got := ask(g, fmt.Sprint("another ", i)); got != "MISS" {
				t.Errorf("without Redis: %s", got)
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("without Redis, five requests took %v", took)
		}
		if lines := g.logged("redis is left alone for a while; answers are not cached"); len(lines) == 0 {
			t.Error("it is not in the log")
		}
		if config := g.look("/config/"); strings.Contains(config, address) {
			t.Error("the URL is in the configuration")
		}
	}
	if asked.Load() != before+10 {
		t.Errorf("the provider was asked %d times", asked.Load()-before)
	}
}
