package caddymodule

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

var (
	requestsInFlight = prometheus.NewDesc("caddy_llm_requests_in_flight",
		"Requests that are being answered.", nil, nil)
	cacheTotal = prometheus.NewDesc("caddy_llm_cache_total",
		"Answers by what the cache did: hit, shared with an equal request, miss, or bypass.", []string{"result"}, nil)
	cacheAnswers = prometheus.NewDesc("caddy_llm_cache_answers",
		"Answers that the cache in memory holds.", nil, nil)
	cacheBytes = prometheus.NewDesc("caddy_llm_cache_bytes",
		"Memory that the answers in the cache take.", nil, nil)
	targetDrained = prometheus.NewDesc("caddy_llm_target_drained",
		"1 while an operator keeps a target out of service.", []string{"target"}, nil)
)

// gatewayCollector reads what the gateway counts and holds when it is asked for.
type gatewayCollector struct{}

// Describe implements prometheus.Collector.
func (gatewayCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{requestsInFlight, cacheTotal, cacheAnswers, cacheBytes, targetDrained} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (gatewayCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	gauge(requestsInFlight, float64(inFlight.Load()))
	for result, n := range cacheResults.counts() {
		ch <- prometheus.MustNewConstMetric(cacheTotal, prometheus.CounterValue, float64(n), string(result))
	}
	handlers := running.handlers()
	for _, c := range cacheReports(handlers) {
		if c.Answers != nil {
			gauge(cacheAnswers, float64(*c.Answers))
			gauge(cacheBytes, float64(*c.Bytes))
		}
	}
	drained := make(map[string]bool) // several models may have one target
	for _, t := range targetReports(handlers) {
		drained[t.ID] = t.State == llmgateway.StateDrained
	}
	for id, out := range drained {
		value := 0.
		if out {
			value = 1
		}
		gauge(targetDrained, value, id)
	}
}

// Interface guards
var _ prometheus.Collector = gatewayCollector{}
