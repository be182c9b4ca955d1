package caddymodule

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// The metrics of requests. They are the process's and not a configuration's, so that reloads do not forget what was counted.
// Labels have configured names only: model is _other for names that nobody has configured, and provider is _none where
// nobody answered.
var (
	requestsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_llm_requests_total",
		Help: "Requests that have ended, by outcome: ok, or what went wrong.",
	}, []string{"model", "provider", "outcome"})
	firstTokenSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "caddy_llm_first_token_seconds",
		Help:    "Time from a request's arrival to the first piece of its answer, over all attempts. Answers from the cache do not count.",
		Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20, 40, 80, 160},
	}, []string{"model", "provider"})
	generationSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "caddy_llm_generation_seconds",
		Help:    "Time from a request's arrival to the end of a whole answer. Answers from the cache do not count.",
		Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600},
	}, []string{"model", "provider"})
	tokensTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_llm_tokens_total",
		Help: "Tokens of attempts as providers count them, by kind: prompt, cached (a part of prompt), completion, reasoning (a part of completion).",
	}, []string{"model", "provider", "kind"})
	costTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_llm_cost_usd_total",
		Help: "What attempts cost in US dollars, as providers say or by the targets' prices, also those that were in vain.",
	}, []string{"model", "provider"})
	retriesTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_llm_retries_total",
		Help: "Attempts that failed before anything was passed on, so that another target could be asked.",
	}, []string{"model", "reason"})
)

// The same in the names of OpenTelemetry's conventions for generative AI, as its Prometheus exporter writes them
// (https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-metrics.md). Buckets are those
// that the conventions want.
var (
	genAIOperation = []string{"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"}

	genAITokenUsage = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "gen_ai_client_token_usage",
		Help:    "Tokens of a request by gen_ai_token_type: input or output.",
		Buckets: []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864},
	}, append([]string{"gen_ai_token_type"}, genAIOperation...))
	genAIClientDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "gen_ai_client_operation_duration_seconds",
		Help:    "Time that an attempt at a provider took, also one that failed.",
		Buckets: genAIDurations,
	}, append([]string{"error_type"}, genAIOperation...))
	genAIServerDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "gen_ai_server_request_duration_seconds",
		Help:    "Time from a request's arrival to its end.",
		Buckets: genAIDurations,
	}, append([]string{"error_type"}, genAIOperation...))
	genAIFirstToken = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "gen_ai_server_time_to_first_token_seconds",
		Help:    "Time from a request's arrival to the first piece of a whole answer that was streamed.",
		Buckets: []float64{.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10},
	}, genAIOperation)
	genAIOutputToken = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "gen_ai_server_time_per_output_token_seconds",
		Help:    "Time for each token after the first of a whole answer that was streamed.",
		Buckets: []float64{.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5},
	}, genAIOperation)

	genAIDurations = []float64{.01, .02, .04, .08, .16, .32, .64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
)

// requestCollectors are all of them.
var requestCollectors = []prometheus.Collector{
	requestsTotal, firstTokenSeconds, generationSeconds, tokensTotal, costTotal, retriesTotal,
	genAITokenUsage, genAIClientDuration, genAIServerDuration, genAIFirstToken, genAIOutputToken,
}

// nobody is the label of requests that no provider answered.
const nobody = "_none"

// count takes a request that has ended into the metrics.
func (rec *record) count(err error) {
	model, provider, outcome, failure := rec.model(), rec.answer.Provider, "ok", ""
	if provider == "" {
		provider = nobody
	}
	if err != nil {
		failure = string(llmgateway.AsError(err).Kind)
		outcome = failure
	}
	requestsTotal.WithLabelValues(model, provider, outcome).Inc()
	if rec.request == nil {
		return
	}
	operation := string(rec.request.Operation)
	genAIServerDuration.WithLabelValues(failure, operation, provider, model).Observe(rec.duration.Seconds())
	generated := rec.cache.Result != llmgateway.CacheHit && rec.cache.Result != llmgateway.CacheShared
	if rec.answer.Number == 0 || !generated {
		return
	}
	firstTokenSeconds.WithLabelValues(model, provider).Observe(rec.firstToken.Seconds())
	if err != nil {
		return
	}
	generationSeconds.WithLabelValues(model, provider).Observe(rec.duration.Seconds())
	if !rec.request.ClientStream {
		return
	}
	genAIFirstToken.WithLabelValues(operation, provider, model).Observe(rec.firstToken.Seconds())
	if rec.usage != nil && rec.usage.CompletionTokens > 1 {
		each := (rec.duration - rec.firstToken).Seconds() / float64(rec.usage.CompletionTokens-1)
		genAIOutputToken.WithLabelValues(operation, provider, model).Observe(each)
	}
}

// countTokens takes the tokens of an attempt into the metrics, as its provider has counted them.
func (rec *record) countTokens(provider string, u *llmgateway.Usage) {
	model, operation := rec.model(), string(rec.request.Operation)
	for _, kind := range []struct {
		name string
		n    int
	}{
		{"prompt", u.PromptTokens}, {"cached", u.CachedTokens}, {"completion", u.CompletionTokens}, {"reasoning", u.ReasoningTokens},
	} {
		if kind.n > 0 { // a provider may say anything
			tokensTotal.WithLabelValues(model, provider, kind.name).Add(float64(kind.n))
		}
	}
	genAITokenUsage.WithLabelValues("input", operation, provider, model).Observe(float64(max(u.PromptTokens, 0)))
	if rec.request.Operation != llmgateway.Embeddings {
		genAITokenUsage.WithLabelValues("output", operation, provider, model).Observe(float64(max(u.CompletionTokens, 0)))
	}
}

// countAttempt takes an attempt that has ended into the metrics.
func (rec *record) countAttempt(a llmgateway.Attempt) {
	failure := ""
	if a.Err != nil {
		failure = string(llmgateway.AsError(a.Err).Kind)
	}
	genAIClientDuration.WithLabelValues(failure, string(rec.request.Operation), a.Provider, rec.model()).Observe(a.Duration.Seconds())
}
