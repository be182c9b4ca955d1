package caddymodule

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddyserver/caddy/v2"
)

// The metrics of local models. Engines of one name, such as those of a configuration that goes and the one that comes, are
// counted together.
var (
	engineUp = prometheus.NewDesc("caddy_llm_engine_up",
		"Processes of a local model that take requests.", []string{"engine"}, nil)
	engineBytes = prometheus.NewDesc("caddy_llm_engine_bytes",
		"Memory that the loaded processes of a local model are estimated to take.", []string{"engine"}, nil)
	engineRunning = prometheus.NewDesc("caddy_llm_engine_running",
		"Requests that a local model is answering.", []string{"engine"}, nil)
	queueLength = prometheus.NewDesc("caddy_llm_queue_length",
		"Requests that wait for a slot of a local model.", []string{"engine"}, nil)
	queueWait = prometheus.NewDesc("caddy_llm_queue_wait_seconds",
		"Time that the request has waited that has waited longest for a slot of a local model.", []string{"engine"}, nil)
	memoryMax = prometheus.NewDesc("caddy_llm_memory_max_bytes",
		"Memory that all local models may take together.", nil, nil)
	memoryUsed = prometheus.NewDesc("caddy_llm_memory_used_bytes",
		"Memory that the loaded local models are estimated to take.", nil, nil)
)

// engineCollector reads the state of the local models when it is asked for, so that there is nothing to keep up to date,
// and nothing left of models that went.
type engineCollector struct{}

// registerMetrics makes metrics part of a configuration's registry, of which there is a new one with each.
func registerMetrics(ctx caddy.Context, collectors ...prometheus.Collector) error {
	for _, c := range collectors {
		err := ctx.GetMetricsRegistry().Register(c)
		if _, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); err != nil && !ok {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// Describe implements prometheus.Collector.
func (engineCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{engineUp, engineBytes, engineRunning, queueLength, queueWait, memoryMax, memoryUsed} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (engineCollector) Collect(ch chan<- prometheus.Metric) {
	type sums struct{ up, bytes, running, waiting, wait float64 }
	byName := make(map[string]*sums)
	for _, r := range engineReports() {
		s := byName[r.Name]
		if s == nil {
			s = new(sums)
			byName[r.Name] = s
		}
		if !r.LoadedAt.IsZero() {
			s.up++
		}
		if r.Resident {
			s.bytes += float64(r.EstimatedBytes)
		}
		s.running += float64(len(r.Queue.Running))
		s.waiting += float64(len(r.Queue.Waiting))
		s.wait = max(s.wait, r.Queue.LongestWait)
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for name, s := range byName {
		gauge(engineUp, s.up, name)
		gauge(engineBytes, s.bytes, name)
		gauge(engineRunning, s.running, name)
		gauge(queueLength, s.waiting, name)
		gauge(queueWait, s.wait, name)
	}
	memory := budget().Report()
	gauge(memoryMax, float64(memory.MaxBytes))
	gauge(memoryUsed, float64(memory.UsedBytes))
}

// Interface guards
var _ prometheus.Collector = engineCollector{}
