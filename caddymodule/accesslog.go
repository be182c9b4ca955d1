package caddymodule

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/limit"
)

// accessLog returns what the access log says of the request beside what Caddy says: the object llm. What is not known is
// left out. It has nothing of prompts and answers.
func (rec *record) accessLog() zap.Field {
	return zap.Object("llm", zapcore.ObjectMarshalerFunc(func(e zapcore.ObjectEncoder) error {
		text := func(name, value string) {
			if value != "" {
				e.AddString(name, value)
			}
		}
		number := func(name string, value int64) {
			if value > 0 {
				e.AddInt64(name, value)
			}
		}
		text("model", rec.model())
		text("provider", rec.answer.Provider)
		text("upstream_model", rec.answer.Model)
		e.AddInt("status", rec.status)
		number("retries", rec.failed.Load())
		text("cache", string(rec.cache.Result))
		text("resumed_by", rec.finisher)
		text("finish_reason", rec.finish)
		if u := rec.usage; u != nil {
			e.AddInt("prompt_tokens", u.PromptTokens)
			e.AddInt("completion_tokens", u.CompletionTokens)
			number("cached_tokens", int64(u.CachedTokens))
			number("reasoning_tokens", int64(u.ReasoningTokens))
		}
		if rec.used.Cost > 0 {
			e.AddFloat64("cost_usd", float64(rec.used.Cost)/limit.USD)
		}
		if rec.answer.Number > 0 {
			e.AddInt64("first_token_ms", rec.firstToken.Milliseconds())
		}
		e.AddInt64("duration_ms", rec.duration.Milliseconds())
		return nil
	}))
}
