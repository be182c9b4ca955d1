package caddymodule

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/settings"
)

// writeSettings returns the Caddyfile for settings that were checked. Caddy's formatter has nothing to change in it.
func writeSettings(s *settings.Settings) []byte {
	w := new(caddyfileWriter)
	w.open()
	w.comment("Answers that are under way may finish when Caddy stops. At least as long as \"timeout\" below.")
	w.line("grace_period", "10m")
	w.comment("Caddy's metrics are on the admin endpoint, http://localhost:2019/metrics.")
	w.line("metrics")
	w.open("log")
	w.line("level", strings.ToUpper(s.Server.LogLevel))
	w.close()
	w.open("servers")
	w.open("timeouts")
	w.line("read_header", "10s")
	w.line("idle", "5m")
	w.comment("No \"write\": it would cut every answer that takes longer.")
	w.close()
	w.close()
	w.close()
	w.blank()
	w.site(s)
	return w.Bytes()
}

// site writes the gateway's site, and what is around it.
func (w *caddyfileWriter) site(s *settings.Settings) {
	port := strconv.Itoa(s.Server.Port)
	if s.Server.Loopback() {
		names := "http://localhost:" + port + ", http://127.0.0.1:" + port
		if addr, err := netip.ParseAddr(s.Server.Host); err == nil && addr.String() != "127.0.0.1" {
			names += ", http://" + net.JoinHostPort(addr.String(), port)
		}
		w.raw(names + " {")
	} else {
		w.raw("http://:" + port + " {")
	}
	w.depth++
	w.line("bind", s.Server.Host)
	w.open("route")
	w.comment("A web page from elsewhere, open in a browser that reaches this address, is not its user.")
	w.raw(`@foreign {
	header Origin *
	not header_regexp Origin ^https?://(localhost|127\.0\.0\.1)(:[0-9]+)?$
}
header @foreign Content-Type application/json
respond @foreign ` + "`" + errorObject("requests from other sites' pages are refused", "invalid_request_error", "forbidden_origin") + "`" + ` 403`)
	w.blank()
	w.raw(`@health path /health /health/readiness /health/liveliness /v1/health /v1/health/readiness /v1/health/liveliness
llm_health @health`)
	w.blank()
	w.comment("Screenshots make long conversations large.")
	w.open("request_body")
	w.line("max_size", "256MB")
	w.close()
	if limit := s.RateLimit; limit != nil && limit.Enabled {
		w.comment("One limit for all clients together, of what costs something.")
		w.raw(`@generate method POST
rate_limit @generate {
	zone llmgateway {
		key everybody
		events ` + strconv.Itoa(limit.RequestsPerMinute) + `
		window 1m
	}
}`)
	}
	w.gateway(s)
	w.blank()
	w.raw(`header Content-Type application/json
respond ` + "`" + errorObject("there is nothing here; the API is under /v1, health under /health", "invalid_request_error", "not_found") + "`" + ` 404`)
	w.close()
	w.blank()
	w.refusal(413, "the request body is larger than this gateway accepts; send fewer or smaller images", "invalid_request_error", "request_too_large")
	if limit := s.RateLimit; limit != nil && limit.Enabled {
		w.refusal(429, fmt.Sprintf("this gateway answers %d requests a minute; Retry-After says when there is room again", limit.RequestsPerMinute), "rate_limit_error", "rate_limit_exceeded")
	}
	w.close()
	if !s.Server.Loopback() {
		return
	}
	w.blank()
	w.comment("Other names for this address come from pages that try to look like this machine (DNS rebinding).")
	w.open("http://:" + port)
	w.line("bind", s.Server.Host)
	w.raw(`header Content-Type application/json
respond ` + "`" + errorObject("this gateway answers to localhost only", "invalid_request_error", "wrong_host") + "`" + ` 421`)
	w.close()
}

// refusal writes what a client is told when a handler before llm refuses its request.
func (w *caddyfileWriter) refusal(status int, message, errorType, code string) {
	w.open("handle_errors", strconv.Itoa(status))
	w.raw("header Content-Type application/json\nrespond `" + errorObject(message, errorType, code) + "` " + strconv.Itoa(status))
	w.close()
}

func errorObject(message, errorType, code string) string {
	return fmt.Sprintf(`{"error":{"message":%q,"type":%q,"param":null,"code":%q}}`, message, errorType, code)
}

// gateway writes the directive llm.
func (w *caddyfileWriter) gateway(s *settings.Settings) {
	w.open("llm")
	for _, p := range s.Providers {
		if !p.Enabled {
			w.comment("provider " + p.Name + " is switched off")
			continue
		}
		w.provider(p)
	}
	w.blank()
	if s.AutoPick.Enabled {
		w.comment("Clients ask for \"auto\" to leave the choice to the gateway, or name a provider.")
	} else {
		w.comment("Who asks for \"auto\" must name a provider, and nobody else is asked.")
	}
	w.open("model", settings.Auto)
	targets := s.Picks()
	if !s.AutoPick.Enabled {
		targets = s.Offered()
		w.line("auto_pick", "off")
	}
	for _, p := range targets {
		w.line("to", target(p))
	}
	w.close()
	for _, p := range s.Offered() {
		w.open("model", p.Name)
		w.line("to", target(p))
		w.close()
	}
	w.blank()
	if s.AutoPick.MaxRetries != nil {
		w.line("lb_retries", strconv.Itoa(*s.AutoPick.MaxRetries))
	}
	w.line("first_token_timeout", shortDuration(time.Duration(s.AutoPick.TimeoutMS)*time.Millisecond))
	w.comment("Silence for this long in the middle of an answer means that it is broken.")
	w.line("stream_idle_timeout", "60s")
	w.line("timeout", "10m")
	if c := s.Cache; c != nil && c.Enabled {
		w.open("cache", "memory")
		w.line("max_entries", strconv.Itoa(c.MaxSize))
		w.line("ttl", shortDuration(time.Duration(c.TTLSeconds)*time.Second))
		w.close()
	}
	w.close()
}

// shortDuration writes 1h for 1h0m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if short, ok := strings.CutSuffix(text, zero); ok {
			text = short + zero[:1]
		}
	}
	return text
}

// target returns a provider and its model as `to` has them.
func target(p *settings.Provider) string {
	if p.Local() {
		return p.Name
	}
	return p.Name + "/" + string(p.Model)
}

// provider writes one provider.
func (w *caddyfileWriter) provider(p *settings.Provider) {
	words := []string{"provider", p.Name, p.Type}
	switch p.Type {
	case settings.LlamaCPP:
		w.local(p)
		return
	case settings.OpenAICompatible:
		words = []string{"provider", p.Name, "openai", string(p.BaseURL)}
		if p.APIKey == "" {
			w.line(words...)
			return
		}
	}
	w.open(words...)
	if p.BaseURL != "" && p.Type != settings.OpenAICompatible {
		w.line("base_url", string(p.BaseURL))
	}
	if p.APIKey != "" {
		w.line("api_key", string(p.APIKey))
	}
	w.close()
}

// local writes a provider that runs a model.
func (w *caddyfileWriter) local(p *settings.Provider) {
	params := p.Params
	if params == nil {
		params = settings.DefaultParams()
	}
	w.open("provider", p.Name, "llamacpp", string(p.ModelPath))
	for _, number := range []struct {
		word  string
		value int
	}{{"n_ctx", params.NCtx}, {"n_batch", params.NBatch}, {"n_threads", params.NThreads}, {"n_parallel", params.NParallel}} {
		if number.value != 0 {
			w.line(number.word, strconv.Itoa(number.value))
		}
	}
	if params.NGPULayers != nil {
		w.line("n_gpu_layers", params.NGPULayers.String())
	}
	w.line("f16_kv", strconv.FormatBool(params.F16KV))
	if params.UseMlock {
		w.line("use_mlock")
	}
	if !params.UseMmap {
		w.line("use_mmap", "false")
	}
	if params.MMProj != "" {
		w.line("mmproj", string(params.MMProj))
	} else {
		w.line("mmproj", autoProjector)
	}
	if params.Embeddings {
		w.line("embeddings")
	}
	w.line("preload")
	w.close()
}
