package caddymodule

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/mholt/caddy-ratelimit"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/redis/redistest"
)

// Two gateways, each a process of its own, are one for their users: they share answers, tokens and the number of requests. It is
// what docs/several-gateways.md shows.
func TestSeveralGatewaysAreOneForTheirUsers(t *testing.T) {
	address, kill := redistest.Start(t)
	shared := t.TempDir() // as a network file system would be
	var asked atomic.Int64
	url := playing(t, well("second"), &asked)
	gateways := []*gateway{newGateway(t), newGateway(t)}
	for _, g := range gateways {
		g.env = []string{"TEST_REDIS_URL=redis://" + address}
		g.spawn(fmt.Sprintf(`route {
			map {header.X-User} {http.auth.user.id} {
				~^(.+)$ $1
				default nobody
			}
			rate_limit {
				zone requests {
					key {http.auth.user.id}
					events 10
					window 10m
				}
				distributed {
					read_interval 50ms
					write_interval 50ms
				}
				storage file_system %q
			}
			llm_limit {
				key {http.auth.user.id}
				tokens 210 per 1000h
				redis {env.TEST_REDIS_URL}
			}
			llm {
				provider far openai %s
				model m {
					to far
				}
				cache redis {env.TEST_REDIS_URL}
			}
		}`, shared, url))
	}
	one, other := gateways[0], gateways[1]
	question := func(n int) string { return chat("m", fmt.Sprint("hi ", n), false, `"max_tokens":60`) }
	check := func(g *gateway, user, body string, want int) http.Header {
		t.Helper()
		return g.must(g.client("HTTP/1.1"), user, body, want).header
	}

	// Each answer takes 66 tokens, and about as many are expected.
	for i, g := range []*gateway{one, other, one} {
		check(g, "ann", question(i), http.StatusOK)
	}
	header := check(other, "ann", question(3), http.StatusTooManyRequests)
	if header.Get("X-Ratelimit-Limit-Tokens") != "210" || header.Get("X-Ratelimit-Remaining-Tokens") != "12" {
		t.Errorf("got %v", header)
	}
	check(other, "bob", question(4), http.StatusOK)

	await(t, "an answer of one gateway in the other", func() bool {
		return check(one, "bob", question(4), http.StatusOK).Get("X-Cache") == "HIT"
	})
	if n := asked.Load(); n != 4 {
		t.Errorf("the provider was asked %d times, want 4", n)
	}

	// Ten requests at one gateway are all that there may be; the other hears of them soon.
	for range 10 {
		check(one, "cleo", question(5), http.StatusOK) // from the cache, mostly
	}
	limited := false
	for range 9 { // it would take ten at the other alone
		time.Sleep(500 * time.Millisecond)
		a, err := other.askAs(t.Context(), other.client("HTTP/1.1"), "cleo", question(5))
		if err != nil {
			t.Fatal(err)
		}
		if limited = a.status == http.StatusTooManyRequests && a.header.Get("X-Ratelimit-Limit-Tokens") == ""; limited {
			break
		}
	}
	if !limited {
		t.Error("the other gateway does not hear of the requests")
	}
	check(other, "dan", question(6), http.StatusOK)
	states, _ := filepath.Glob(filepath.Join(shared, "rate_limit", "instances", "*"))
	if len(states) != 2 {
		t.Errorf("there are the states %v", states)
	}
	for _, state := range states {
		if text, _ := os.ReadFile(state); strings.Contains(string(text), address) {
			t.Errorf("%s holds more than counts", state)
		}
	}

	kill()
	for _, g := range gateways {
		check(g, "eve", question(7), http.StatusOK)
	}
}
