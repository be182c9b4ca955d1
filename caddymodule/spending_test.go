package caddymodule

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tidwall/gjson"
)

// comment returns the comment of a stream that stands before its end marker.
func comment(body string) string {
	before, _, _ := strings.Cut(body, "\n\ndata: [DONE]")
	last := before[strings.LastIndex(before, "\n\n")+2:]
	if !strings.HasPrefix(last, ": ") {
		return ""
	}
	return strings.TrimPrefix(last, ": ")
}

func TestCostIsToldToClientsAndLogs(t *testing.T) {
	for _, test := range []struct{ name, usage, cost string }{
		{"by the price", "", "0.04"},
		{"with a part of the prompt from the provider's cache", `,"prompt_tokens_details":{"cached_tokens":4}`, "0.038"},
		{"as the provider says", `,"cost":0.00123`, "0.00123"},
		{"as the provider says, nothing", `,"cost":0`, "0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			g.start("log_append cost {http.llm.cost}\n" + limitedSite(upstream(t, metered(test.usage)), "tokens 1m per 1h"))
			for _, protocol := range protocols {
				client := g.client(protocol)
				if a := g.must(client, "ann", chat("m", "hello", false), http.StatusOK); a.header.Get("X-Llm-Cost") != test.cost {
					t.Errorf("%s: got %v", protocol, a.header)
				}
				a := g.must(client, "ann", chat("m", "hello", true), http.StatusOK)
				if got := comment(a.body); got != "X-Llm-Cost: "+test.cost || a.header.Get("X-Llm-Cost") != "" {
					t.Errorf("%s: got %q in %s", protocol, got, a.body)
				}
			}
			await(t, "six entries in the log", func() bool { return g.handled() == 6 })
			for _, entry := range g.logged("handled request") {
				if fmt.Sprint(entry["cost"]) != test.cost {
					t.Errorf("the log says %v", entry["cost"])
				}
			}
		})
	}
}

func TestCostIsNotToldWhereNobodyKnowsIt(t *testing.T) {
	g := newGateway(t)
	g.start(strings.Replace(limitedSite(upstream(t, metered("")), "tokens 1m per 1h"), "price 1000 2000 500", "", 1))
	client := g.client("HTTP/1.1")
	if a := g.must(client, "ann", chat("m", "hello", false), http.StatusOK); a.header.Get("X-Llm-Cost") != "" {
		t.Errorf("got %v", a.header)
	}
	if a := g.must(client, "ann", chat("m", "hello", true), http.StatusOK); comment(a.body) != "" {
		t.Errorf("got %s", a.body)
	}
}

func TestSpendingIsLimited(t *testing.T) {
	g := newGateway(t)
	g.start(limitedSite(upstream(t, metered("")), "spend 0.10 USD per 1d\ntokens 1m per 1h"))
	client, body := g.client("HTTP/2.0"), chat("m", "hi", true, `"max_tokens":15`)
	for range 2 { // 0.04 each, and 0.034 or so expected
		_ = g.must(client, "ann", body, http.StatusOK)
	}
	a := g.must(client, "ann", body, http.StatusTooManyRequests)
	if gjson.Get(a.body, "error.code").Str != "insufficient_quota" || !strings.Contains(a.message(), "0.1 USD per 24h") {
		t.Errorf("got %s", a.body)
	}
	_ = g.must(client, "bob", body, http.StatusOK)
}

// Each part of an answer costs what its own target takes, and what was in vain costs, too.
func TestEveryAttemptCostsItsTargetsPrice(t *testing.T) {
	silent := func(w http.ResponseWriter, r *http.Request, _ int) {
		wantsStream(r)
		hang(w, r)
	}
	stalls := func(w http.ResponseWriter, r *http.Request, _ int) {
		wantsStream(r)
		count(w, "first", 1, 40)
		hang(w, r)
	}
	// A prompt of "hello" is estimated at 8 tokens; the second counts 6 of the prompt and 60 of the answer. The first takes
	// 1000 dollars for a million tokens of a prompt and 2000 for those of an answer, the second 10000 and 20000.
	const second = 6*0.01 + 60*0.02
	for _, test := range []struct {
		name    string
		first   play
		second  play
		options string
		stream  bool
		cost    float64
	}{
		{"finished by another", cutAt40, inOtherPieces, "resume on", true, 8*0.001 + 40*0.002 + second},
		{"refused first", fails(429, "no"), well("second"), "", true, second},
		{"silent first", silent, well("second"), "first_token_timeout 200ms", true, 8*0.001 + second},
		{"stalled before anybody knew", stalls, well("second"), "first_token_timeout 2s\nstream_idle_timeout 200ms", false, 8*0.001 + 40*0.002 + second},
		{"outrun", silent, well("second"), "hedge_after 50ms\nhedge_budget 100%", true, 8*0.001 + second},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			g.start(fmt.Sprintf(`log_append tokens {http.llm.usage.counted_tokens}
			llm {
				%s
				provider first openai %s
				provider second openai %s
				model m {
					to first {
						price 1000 2000
					}
					to second {
						price 10000 20000
					}
				}
			}`, test.options, playing(t, test.first, new(atomic.Int64)), playing(t, test.second, new(atomic.Int64))))
			a, err := g.ask(t.Context(), g.client("HTTP/2.0"), chat("m", "hello", test.stream))
			if err != nil {
				t.Fatal(err)
			}
			told := a.header.Get("X-Llm-Cost")
			if test.stream {
				told = strings.TrimPrefix(comment(a.body), "X-Llm-Cost: ")
			}
			if got, err := strconv.ParseFloat(told, 64); err != nil || math.Abs(got-test.cost) > 1e-9 {
				t.Errorf("it cost %q, want %v", told, test.cost)
			}
			await(t, "an entry in the log", func() bool { return g.handled() == 1 })
			tokens, _ := g.logged("handled request")[0]["tokens"].(float64)
			if tokens < 66 || (test.name != "refused first") != (tokens > 66) {
				t.Errorf("%v tokens count", tokens)
			}
		})
	}
}
