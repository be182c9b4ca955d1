package caddymodule

import (
	"fmt"
	"net/http"
	"strings"
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
