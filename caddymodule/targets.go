package caddymodule

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/route"
)

// changed returns what logs that a target of the model went down, or is up again, and tells the subscribers of events. It uses
// nothing of a handler: the request that found it out may be one of a configuration that went.
func changed(model string) func(t *route.Target, c route.Condition) {
	return func(t *route.Target, c route.Condition) {
		logger := slog.New(currentLog{})
		data := map[string]any{"provider": t.Name, "model": model, "upstream_model": t.Model}
		if !c.Down {
			logger.Info("target is up", "provider", t.Name, "upstream_model", t.Model)
			emit("llm_target_up", data)
			return
		}
		logger.Warn("target is down", "provider", t.Name, "upstream_model", t.Model, "reason", c.Reason, "until", c.Until)
		data["reason"] = c.Reason
		if !c.Until.IsZero() {
			data["until"] = c.Until.UTC().Format(time.RFC3339)
		}
		emit("llm_target_down", data)
	}
}

var targetUp = prometheus.NewDesc("caddy_llm_target_up",
	"1 if a provider takes requests for a model, 0 if it is down, switched off, drained or broken.", []string{"provider", "model"}, nil)

// targetCollector reads how the targets of the configuration in force are when it is asked for. Where a model has several targets
// at one provider, or several handlers have the same names, one that is up is enough.
type targetCollector struct{}

// Describe implements prometheus.Collector.
func (targetCollector) Describe(ch chan<- *prometheus.Desc) { ch <- targetUp }

// Collect implements prometheus.Collector.
func (targetCollector) Collect(ch chan<- prometheus.Metric) {
	type labels struct{ provider, model string }
	up := make(map[labels]float64)
	for _, h := range running.handlers() {
		for name, model := range h.Models {
			for i, t := range model.Targets {
				target := h.table.Models[name].Targets[i]
				value := 0.
				if h.state(name, t).Live() && !target.Condition().Down && target.Drain.Since().IsZero() {
					value = 1
				}
				key := labels{t.Provider, name}
				up[key] = max(up[key], value)
			}
		}
	}
	for of, value := range up {
		ch <- prometheus.MustNewConstMetric(targetUp, prometheus.GaugeValue, value, of.provider, of.model)
	}
}

// Interface guards
var _ prometheus.Collector = targetCollector{}
