package caddymodule

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/redis/redistest"
)

// metered answers with two words and says that it took 10 tokens for the prompt and 15 for the answer. more are further
// members of the usage.
func metered(more string) http.HandlerFunc {
	usage := `{"prompt_tokens":10,"completion_tokens":15,"total_tokens":25` + more + `}`
	return func(w http.ResponseWriter, r *http.Request) {
		if !wantsStream(r) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"two words"},"finish_reason":"stop"}],"usage":%s}`, usage)
			return
		}
		sayRole(w)
		say(w, "two ")
		say(w, "words")
		sendDelta(w, "{}", `"stop"`)
		_, _ = fmt.Fprintf(w, "data: {\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"choices\":[],\"usage\":%s}\n\ndata: [DONE]\n\n", usage)
	}
}

// limitedSite returns a site with limits, where a header names the user.
func limitedSite(url, limits string, more ...string) string {
	return fmt.Sprintf("route {\nmap {header.X-User} {http.auth.user.id} {\n~^(.+)$ $1\n}\nllm_limit {\nkey {http.auth.user.id}\n%s\n}\n%s\nllm {\nprovider far openai %s\nmodel m {\nto far {\nprice 1000 2000 500\n}\n}\n}\n}",
		limits, strings.Join(more, "\n"), url)
}

// askAs sends a request in a user's name and reads the answer.
func (g *gateway) askAs(ctx context.Context, client *http.Client, user, body string) (answer, error) {
	req := g.request(ctx, body)
	if user != "" {
		req.Header.Set("X-User", user)
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text)}, err
}

// must fails the test if the user does not get an answer with the status.
func (g *gateway) must(client *http.Client, user, body string, status int) answer {
	g.t.Helper()
	a, err := g.askAs(g.t.Context(), client, user, body)
	if err != nil || a.status != status {
		g.t.Fatalf("%s: got %d %s, %v; want %d", user, a.status, a.body, err, status)
	}
	return a
}

func TestTokensAreLimitedForEachUser(t *testing.T) {
	url := upstream(t, metered(""))
	g := newGateway(t)
	g.retry = true // right after a reload a connection may be lost
	site := limitedSite(url, "tokens 100 per 1h")
	g.start(site)
	body := map[bool]string{}
	for _, streamed := range []bool{true, false} {
		body[streamed] = chat("m", "hello", streamed, `"max_tokens":10`)
	}
	for _, protocol := range protocols {
		for _, streamed := range []bool{true, false} {
			client, user := g.client(protocol), fmt.Sprint(protocol, streamed)
			left := int64(100)
			for range 4 { // three times 25, and the fourth has room for what it is expected to take
				a := g.must(client, user, body[streamed], http.StatusOK)
				remaining, err := strconv.ParseInt(a.header.Get("X-Ratelimit-Remaining-Tokens"), 10, 64)
				if err != nil || remaining >= left || remaining < left-30 || a.header.Get("X-Ratelimit-Limit-Tokens") != "100" {
					t.Errorf("%s: %d were left; got %v", user, left, a.header)
				}
				if reset, err := time.ParseDuration(a.header.Get("X-Ratelimit-Reset-Tokens")); err != nil || reset < time.Hour || reset > 2*time.Hour {
					t.Errorf("%s: reset in %v, %v", user, reset, err)
				}
				left -= 25
			}
			a := g.must(client, user, body[streamed], http.StatusTooManyRequests)
			e := gjson.Get(a.body, "error")
			if e.Get("type").Str != "rate_limit_error" || e.Get("code").Str != "rate_limit_exceeded" || !strings.Contains(a.message(), "100 tokens per 1h") {
				t.Errorf("%s: got %s", user, a.body)
			}
			if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds < 1 || seconds > 7200 || a.header.Get("X-Ratelimit-Remaining-Tokens") != "0" {
				t.Errorf("%s: got %v", user, a.header)
			}
			_ = g.must(client, user+" the other", body[streamed], http.StatusOK)
		}
	}
	client := g.client("HTTP/1.1")
	if err := g.reload(site + "\n# changed"); err != nil {
		t.Fatal(err)
	}
	_ = g.must(client, "HTTP/1.1true", body[true], http.StatusTooManyRequests)
	if err := g.reload(limitedSite(url, "tokens 150 per 1h")); err != nil {
		t.Fatal(err)
	}
	if a := g.must(client, "HTTP/1.1true", body[true], http.StatusOK); a.header.Get("X-Ratelimit-Limit-Tokens") != "150" || len(a.header.Get("X-Ratelimit-Remaining-Tokens")) != 2 {
		t.Errorf("after a reload with a higher limit: %v", a.header)
	}
	if err := g.reload(limitedSite("not a URL", "tokens 1 per 1h")); err == nil {
		t.Error("that was no configuration")
	}
	_ = g.must(client, "HTTP/1.1true", body[true], http.StatusOK)
}

func TestRoomComesBackWithTime(t *testing.T) {
	g := newGateway(t)
	g.start(limitedSite(upstream(t, metered("")), "tokens 25 per 1s"))
	client, body := g.client("HTTP/2.0"), chat("m", "hello", false, `"max_tokens":10`)
	_ = g.must(client, "ann", body, http.StatusOK)
	_ = g.must(client, "ann", body, http.StatusTooManyRequests)
	await(t, "room", func() bool {
		a, err := g.askAs(t.Context(), client, "ann", body)
		return err == nil && a.status == http.StatusOK
	})
}

func TestRequestWithoutAKeyIsRefused(t *testing.T) {
	g := newGateway(t)
	g.start(limitedSite(upstream(t, metered("")), "tokens 1k per 1h"))
	client := g.client("HTTP/1.1")
	a := g.must(client, "", chat("m", "hello", true), http.StatusForbidden)
	_ = g.must(client, "", chat("m", "hello", true), http.StatusForbidden)
	if gjson.Get(a.body, "error.code").Str != "no_key" || len(g.logged("a request is refused that has no key to be counted under; authentication must come before llm_limit")) != 1 {
		t.Errorf("got %s", a.body)
	}
	req := g.request(t.Context(), "")
	req.Method, req.URL.Path, req.Body, req.ContentLength = http.MethodGet, "/v1/models", nil, 0
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the list of models: %s", resp.Status)
	}
}

func TestAnswersFromTheCacheCostNothing(t *testing.T) {
	g := newGateway(t)
	g.start(strings.Replace(limitedSite(upstream(t, metered("")), "tokens 60 per 1h\nparallel 9"), "model m {", "cache memory\nmodel m {", 1))
	client, body := g.client("HTTP/1.1"), chat("m", "hello", false, `"max_tokens":15`)
	_ = g.must(client, "ann", body, http.StatusOK)
	hits := 0
	await(t, "ten kept answers", func() bool { // 25 tokens each, of which 35 are left
		a := g.must(client, "ann", body, http.StatusOK)
		if a.header.Get("X-Cache") == "HIT" {
			hits++
			remaining, _ := strconv.Atoi(a.header.Get("X-Ratelimit-Remaining-Tokens"))
			if remaining < 5 || remaining > 20 || a.header.Get("X-Llm-Cost") != "0" { // only this one's estimate is taken
				t.Errorf("got %v", a.header)
			}
		}
		return hits == 10
	})
	_ = g.must(client, "ann", chat("m", "another", false, `"max_tokens":15`), http.StatusOK)
	_ = g.must(client, "ann", body, http.StatusTooManyRequests)
}

// panics breaks an answer while it is written, as a handler of another plugin might.
type panics struct{}

func init() {
	caddy.RegisterModule(panics{})
	httpcaddyfile.RegisterHandlerDirective("test_panics", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) { return panics{}, nil })
}

func (panics) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_panics", New: func() caddy.Module { return new(panics) }}
}

func (panics) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.Header.Get("X-Panic") != "" {
		w = panicWriter{w}
	}
	return next.ServeHTTP(w, r)
}

type panicWriter struct{ http.ResponseWriter }

func (panicWriter) Write([]byte) (int, error) { panic(http.ErrAbortHandler) }

func TestPlacesAreFreedHoweverARequestEnds(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	url := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch gjson.GetBytes(body, "messages.0.content").Str {
		case "fail":
			w.WriteHeader(http.StatusBadRequest)
		case "break":
			say(w, "half")
		case "wait":
			say(w, "first")
			select {
			case <-release:
			case <-r.Context().Done():
			}
		default:
			sayRole(w)
			say(w, "well")
			sayDone(w)
		}
	})
	g := newGateway(t)
	g.start(limitedSite(url, "parallel 1", "test_panics"))
	for _, protocol := range protocols {
		client := g.client(protocol)
		ctx, leave := context.WithCancel(t.Context())
		req := g.request(ctx, chat("m", "wait", true))
		req.Header.Set("X-User", "ann")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		a := g.must(client, "ann", chat("m", "well", true), http.StatusTooManyRequests)
		if !strings.Contains(a.message(), "1 requests at once") {
			t.Errorf("got %s", a.body)
		}
		_ = g.must(client, "bob", chat("m", "well", true), http.StatusOK)
		leave()
		_ = resp.Body.Close()
		await(t, "a free place after the client left", func() bool {
			a, err := g.askAs(t.Context(), client, "ann", chat("m", "well", true))
			return err == nil && a.status == http.StatusOK
		})
		for range 3 { // at once, since a place is free before the client knows
			_ = g.must(client, "ann", chat("m", "well", true), http.StatusOK)
			_ = g.must(client, "ann", chat("m", "fail", true), http.StatusBadRequest)
			_ = g.must(client, "ann", chat("m", "break", true), http.StatusOK)
			_ = g.must(client, "ann", `{"model":`, http.StatusBadRequest)
		}
		req = g.request(t.Context(), chat("m", "well", true))
		req.Header.Set("X-User", "ann")
		req.Header.Set("X-Panic", "yes")
		if resp, err := client.Do(req); err == nil {
			_, _ = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		await(t, "a free place after a panic", func() bool {
			a, err := g.askAs(t.Context(), client, "ann", chat("m", "well", true))
			return err == nil && a.status == http.StatusOK
		})
	}
}

func TestWhatAClientGotBeforeItLeftIsCounted(t *testing.T) {
	url := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		for i := range 1000 {
			say(w, fmt.Sprint("w", i%10))
			if i >= 20 {
				select {
				case <-r.Context().Done():
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		}
	})
	g := newGateway(t)
	g.start(limitedSite(url, "tokens 2000 per 1h"))
	client := g.client("HTTP/2.0")
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	req := g.request(ctx, chat("m", strings.Repeat("word ", 400), true, `"max_tokens":1000`))
	req.Header.Set("X-User", "ann")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 3000)); err != nil {
		t.Fatal(err)
	}
	reserved, _ := strconv.Atoi(resp.Header.Get("X-Ratelimit-Remaining-Tokens"))
	if reserved < 400 || reserved > 650 { // of 2000, after 400 words and an answer of 1000
		t.Errorf("%d remain after the reservation", reserved)
	}
	leave()
	_ = resp.Body.Close()
	var remaining int
	await(t, "a settled request", func() bool {
		a, err := g.askAs(t.Context(), client, "ann", chat("nothing", "", true, `"max_tokens":1`))
		remaining, _ = strconv.Atoi(a.header.Get("X-Ratelimit-Remaining-Tokens"))
		return err == nil && remaining > reserved+100
	})
	if remaining < 1200 || remaining > reserved+990 {
		t.Errorf("%d remain", remaining)
	}
}

func TestGatewaysCountTogetherThroughRedisAndAloneWithoutIt(t *testing.T) {
	url := upstream(t, metered(""))
	address, kill := redistest.Start(t)
	gateways := []*gateway{newGateway(t), newGateway(t)}
	for _, g := range gateways {
		g.env = []string{"TEST_REDIS_URL=redis://" + address}
		g.spawn(limitedSite(url, "tokens 100 per 1h\nredis {env.TEST_REDIS_URL}"))
	}
	body := chat("m", "hello", false, `"max_tokens":10`)
	for i := range 4 {
		g := gateways[i%2]
		_ = g.must(g.client("HTTP/1.1"), "ann", body, http.StatusOK)
	}
	for _, g := range gateways {
		_ = g.must(g.client("HTTP/1.1"), "ann", body, http.StatusTooManyRequests)
	}
	kill()
	for _, g := range gateways {
		client := g.client("HTTP/1.1")
		_ = g.must(client, "ann", body, http.StatusOK) // this one has counted two
		_ = g.must(client, "ann", body, http.StatusOK)
		_ = g.must(client, "ann", body, http.StatusTooManyRequests)
		if lines := g.logged("redis is left alone for a while; this gateway counts for itself"); len(lines) == 0 {
			t.Error("it is not in the log")
		}
		if config := g.look("/config/"); strings.Contains(config, address) {
			t.Error("the URL is in the configuration")
		}
	}
}
