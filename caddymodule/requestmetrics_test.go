package caddymodule

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// families returns the metrics of the gateway by their names.
func (g *gateway) families() map[string]*dto.MetricFamily {
	g.t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(g.look("/metrics")))
	if err != nil {
		g.t.Fatal(err)
	}
	return all
}

// value returns a counter, a gauge or how often a histogram was observed. labels are name and value in turn, and what must be
// there of them.
func value(all map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	sum := 0.
	for _, m := range all[name].GetMetric() {
		has := make(map[string]string)
		for _, l := range m.GetLabel() {
			has[l.GetName()] = l.GetValue()
		}
		matches := true
		for i := 0; i < len(labels); i += 2 {
			matches = matches && has[labels[i]] == labels[i+1]
		}
		if matches {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// mixedGateway returns a gateway that has answered what there is to be measured: streams and whole answers, from providers, from
// the cache and after a failure, one with a local model, one copy for a model under test, and requests that failed.
func mixedGateway(t *testing.T) *gateway {
	t.Helper()
	broken := newFragile(t)
	broken.broken.Store(true)
	g := newGateway(t)
	g.options = "metrics"
	g.spawn(fmt.Sprintf(`llm {
		provider far openai %s
		provider frail openai %s
		provider near llamacpp %q
		provider echo echo
		model m {
			to far {
				price 1000 2000 500
			}
			mirror echo 100
		}
		model weak {
			to frail far
		}
		model dead {
			to frail
		}
		model local {
			to near
		}
		fail_duration 1h
		max_fails 100
		cache memory
	}`, upstream(t, metered(`,"prompt_tokens_details":{"cached_tokens":4}`)), broken.url, starterModel(t)))
	client := g.client("HTTP/2.0")
	for _, request := range []struct {
		body   string
		status int
	}{
		{chat("m", "one", false), 200},
		{chat("m", "one", true), 200}, // from the cache
		{chat("m", "two", true), 200},
		{chat("weak", "three", false), 200},
		{chat("dead", "four", false), 502},
		{chat("no such model", "five", false), 404},
		{chat("local", "six", true, `"max_tokens":4`), 200},
		{"{", 400},
	} {
		if a, err := g.ask(t.Context(), client, request.body); err != nil || a.status != request.status {
			t.Fatalf("%s: got %d %s, %v", request.body, a.status, a.body, err)
		}
	}
	await(t, "all requests in the metrics", func() bool {
		all := g.families()
		return value(all, "caddy_llm_requests_total") == 8 && value(all, "caddy_llm_mirror_requests_total", "outcome", "ok") > 0
	})
	return g
}

func TestRequestsAreMeasured(t *testing.T) {
	g := mixedGateway(t)
	check := func(when string) {
		t.Helper()
		all := g.families()
		for _, want := range []struct {
			value  float64
			name   string
			labels []string
		}{
			{3, "caddy_llm_requests_total", []string{"model", "m", "provider", "far", "outcome", "ok"}},
			{1, "caddy_llm_requests_total", []string{"model", "weak", "provider", "far", "outcome", "ok"}},
			{1, "caddy_llm_requests_total", []string{"model", "dead", "provider", "_none", "outcome", "upstream"}},
			{1, "caddy_llm_requests_total", []string{"model", "_other", "provider", "_none", "outcome", "no_model"}},
			{1, "caddy_llm_requests_total", []string{"model", "_other", "provider", "_none", "outcome", "invalid_request"}},
			{1, "caddy_llm_requests_total", []string{"model", "local", "provider", "near", "outcome", "ok"}},
			{2, "caddy_llm_first_token_seconds", []string{"model", "m", "provider", "far"}},
			{2, "caddy_llm_generation_seconds", []string{"model", "m", "provider", "far"}},
			{20, "caddy_llm_tokens_total", []string{"model", "m", "provider", "far", "kind", "prompt"}},
			{8, "caddy_llm_tokens_total", []string{"model", "m", "provider", "far", "kind", "cached"}},
			{30, "caddy_llm_tokens_total", []string{"model", "m", "provider", "far", "kind", "completion"}},
			{1, "caddy_llm_retries_total", []string{"model", "weak", "reason", "upstream"}},
			{1, "caddy_llm_cache_total", []string{"result", "hit"}},
			{4, "caddy_llm_cache_total", []string{"result", "miss"}},
			{4, "caddy_llm_cache_answers", nil},
			{0, "caddy_llm_requests_in_flight", nil},
			{0, "caddy_llm_target_drained", []string{"target", "far/m"}},
			{2, "gen_ai_client_token_usage", []string{"gen_ai_operation_name", "chat", "gen_ai_provider_name", "far", "gen_ai_request_model", "m", "gen_ai_token_type", "output"}},
			{2, "gen_ai_client_operation_duration_seconds", []string{"gen_ai_provider_name", "frail", "error_type", "upstream"}},
			{1, "gen_ai_server_request_duration_seconds", []string{"gen_ai_request_model", "dead", "error_type", "upstream"}},
			{1, "gen_ai_server_time_to_first_token_seconds", []string{"gen_ai_request_model", "m"}},
			{1, "gen_ai_server_time_per_output_token_seconds", []string{"gen_ai_request_model", "m"}},
		} {
			if got := value(all, want.name, want.labels...); got != want.value || all[want.name] == nil {
				t.Errorf("%s: %s %v: got %v, want %v", when, want.name, want.labels, got, want.value)
			}
		}
		if cost := value(all, "caddy_llm_cost_usd_total", "model", "m", "provider", "far"); cost < 0.0759 || cost > 0.0761 {
			t.Errorf("%s: got a cost of %v", when, cost)
		}
	}
	check("after the requests")
	if err := g.reload("llm {\nprovider a llamacpp /x.gguf\n}"); err == nil {
		t.Error("a configuration without models was taken")
	}
	check("after a reload that failed")
	if text := g.look("/metrics"); strings.Contains(text, "no such model") || strings.Contains(text, http.StatusText(404)) {
		t.Error("what clients wrote is in the metrics")
	}
}

func TestAccessLogSaysWhatWasGenerated(t *testing.T) {
	g := newGateway(t)
	g.start(limitedSite(upstream(t, metered("")), "tokens 1m per 1h"))
	client := g.client("HTTP/2.0")
	g.must(client, "ann", chat("m", "hello", true), http.StatusOK)
	g.must(client, "ann", chat("other", "hello", false), http.StatusNotFound)
	await(t, "two entries in the log", func() bool { return g.handled() == 2 })
	entries := g.logged("handled request")
	first, _ := entries[0]["llm"].(map[string]any)
	for name, want := range map[string]any{
		"model": "m", "provider": "far", "upstream_model": "m", "status": 200., "finish_reason": "stop", "prompt_tokens": 10.,
		"completion_tokens": 15., "cost_usd": 0.04,
	} {
		if first[name] != want {
			t.Errorf("%s: got %v, want %v", name, first[name], want)
		}
	}
	if _, ok := first["first_token_ms"]; !ok || first["duration_ms"] == nil {
		t.Errorf("got %v", first)
	}
	if second, _ := entries[1]["llm"].(map[string]any); second["model"] != "_other" || second["status"] != 404. || second["provider"] != nil {
		t.Errorf("got %v", second)
	}
}
