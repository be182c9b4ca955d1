package caddymodule

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// tracerName says in every span who made it.
const tracerName = "github.com/bytebot-llmgateway/bytebot-llmgateway/caddymodule"

// attemptSpans are the spans of a request's attempts, below the span that Caddy's directive tracing makes of the request.
// Their attributes have the names of OpenTelemetry's conventions for generative AI
// (https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-spans.md). They hold nothing
// of prompts and answers.
//
// Without that directive it is nil, and its methods do nothing.
type attemptSpans struct {
	request   trace.Span
	operation string
	open      map[int]trace.Span // by number of the attempt
}

// newAttemptSpans returns the spans for a request, or nil if it is not traced.
func newAttemptSpans(ctx context.Context) *attemptSpans {
	request := trace.SpanFromContext(ctx)
	if !request.SpanContext().IsValid() {
		return nil
	}
	return &attemptSpans{request: request, open: make(map[int]trace.Span)}
}

// attempting begins the span of an attempt.
func (s *attemptSpans) attempting(ctx context.Context, a llmgateway.Attempt) context.Context {
	s.end(a.Number) // a target that is asked in another way, as the same attempt
	ctx, s.open[a.Number] = s.request.TracerProvider().Tracer(tracerName).Start(ctx, s.operation+" "+a.Model,
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			attribute.String("gen_ai.operation.name", s.operation), attribute.String("gen_ai.provider.name", a.Provider),
			attribute.String("gen_ai.request.model", a.Model), attribute.Int("llmgateway.attempt", a.Number),
		))
	return ctx
}

// header returns what tells a provider which span its work belongs to.
func (*attemptSpans) header(ctx context.Context) http.Header {
	header := make(http.Header, 2)
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(header))
	return header
}

// failed ends the span of an attempt that failed.
func (s *attemptSpans) failed(a llmgateway.Attempt) {
	if s == nil {
		return
	}
	if span, ok := s.open[a.Number]; ok {
		setFailure(span, a.Err)
	}
	s.end(a.Number)
}

// outrun ends the span of an attempt that another was faster than.
func (s *attemptSpans) outrun(a llmgateway.Attempt) {
	if s == nil {
		return
	}
	if span, ok := s.open[a.Number]; ok {
		span.SetAttributes(attribute.Bool("llmgateway.outrun", true))
	}
	s.end(a.Number)
}

// began notes the first piece of an answer.
func (s *attemptSpans) began(a llmgateway.Attempt) {
	if s == nil {
		return
	}
	if span, ok := s.open[a.Number]; ok {
		span.AddEvent("first token")
	}
}

// end ends the span of an attempt, if it is open.
func (s *attemptSpans) end(number int) {
	if span, ok := s.open[number]; ok {
		span.End()
		delete(s.open, number)
	}
}

// finish ends what is still open, and says in it and in the request's span how the request ended.
func (s *attemptSpans) finish(rec *record, err error) {
	if s == nil {
		return
	}
	about := []attribute.KeyValue{attribute.String("gen_ai.operation.name", s.operation)}
	if rec.cache.Result != "" {
		about = append(about, attribute.String("llmgateway.cache", string(rec.cache.Result)))
	}
	if rec.finish != "" {
		about = append(about, attribute.StringSlice("gen_ai.response.finish_reasons", []string{rec.finish}))
	}
	if u := rec.usage; u != nil {
		about = append(about, attribute.Int("gen_ai.usage.input_tokens", u.PromptTokens), attribute.Int("gen_ai.usage.output_tokens", u.CompletionTokens))
	}
	for number, span := range s.open {
		span.SetAttributes(append(about, attribute.String("gen_ai.response.model", rec.answer.Model))...)
		if err != nil {
			setFailure(span, err)
		}
		s.end(number)
	}
	s.request.SetAttributes(append(about,
		attribute.String("gen_ai.request.model", rec.model()), attribute.String("gen_ai.provider.name", rec.answer.Provider),
		attribute.Int64("llmgateway.failed_attempts", rec.failed.Load()))...)
	if err != nil {
		setFailure(s.request, err)
	}
}

// setFailure says in a span what went wrong, but not in a provider's words, which may quote a prompt.
func setFailure(span trace.Span, err error) {
	kind := string(llmgateway.AsError(err).Kind)
	span.SetAttributes(attribute.String("error.type", kind))
	span.SetStatus(codes.Error, kind)
}
