package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// exported takes the spans of this process, once a test has set OTEL_TRACES_EXPORTER to its name.
var exported = tracetest.NewInMemoryExporter()

func init() {
	autoexport.RegisterSpanExporter("memory", func(context.Context) (sdktrace.SpanExporter, error) { return exported, nil })
}

// traced returns what is in a span besides its name.
func traced(s tracetest.SpanStub) map[attribute.Key]string {
	all := make(map[attribute.Key]string)
	for _, a := range s.Attributes {
		all[a.Key] = a.Value.String()
	}
	return all
}

func TestAttemptsAreSpansAndProvidersAreToldOfThem(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "memory")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
	exported.Reset()
	broken := newFragile(t)
	broken.broken.Store(true)
	var told atomic.Value
	good := metered("")
	url := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		told.Store(r.Header.Get("Traceparent"))
		good(w, r)
	})
	g := newGateway(t)
	g.start(fmt.Sprintf(`route {
		tracing {
			span door
		}
		llm {
			provider frail openai %s
			provider far openai %s
			provider near llamacpp %q
			model m {
				to frail far/up
			}
			model local {
				to near
			}
		}
	}`, broken.url, url, starterModel(t)))
	const trace = "0af7651916cd43dd8448eb211c80319c"
	ask := func(body string) {
		t.Helper()
		req := g.request(t.Context(), body)
		req.Header.Set("Traceparent", "00-"+trace+"-b7ad6b7169203331-01")
		resp, err := g.client("HTTP/2.0").Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("got %v, %v", resp, err)
		}
		_ = resp.Body.Close()
	}
	ask(chat("m", "a secret prompt", false))
	var spans map[string]tracetest.SpanStub
	collect := func(n int) {
		t.Helper()
		await(t, "spans", func() bool { return len(exported.GetSpans()) >= n })
		spans = make(map[string]tracetest.SpanStub)
		for _, s := range exported.GetSpans() {
			spans[s.Name] = s
			if s.SpanContext.TraceID().String() != trace {
				t.Errorf("%s is of another trace", s.Name)
			}
			if text := fmt.Sprint(s); strings.Contains(text, "secret") || strings.Contains(text, "10.0.0.1") {
				t.Errorf("%s tells too much: %s", s.Name, text)
			}
		}
	}
	collect(3)
	door, failed, answered := spans["door"], spans["chat m"], spans["chat up"]
	if failed.Parent.SpanID() != door.SpanContext.SpanID() || answered.Parent.SpanID() != door.SpanContext.SpanID() {
		t.Error("attempts are not below their request")
	}
	if got := traced(failed); got["error.type"] != "upstream" || got["gen_ai.provider.name"] != "frail" || failed.Status.Code != codes.Error {
		t.Errorf("the attempt that failed: %v, %v", got, failed.Status)
	}
	if got := traced(answered); got["gen_ai.operation.name"] != "chat" || got["gen_ai.request.model"] != "up" || got["gen_ai.usage.input_tokens"] != "10" ||
		got["gen_ai.usage.output_tokens"] != "15" || got["gen_ai.response.finish_reasons"] != `["stop"]` || got["llmgateway.attempt"] != "2" {
		t.Errorf("the attempt that answered: %v", got)
	}
	if got := traced(door); got["gen_ai.request.model"] != "m" || got["llmgateway.failed_attempts"] != "1" {
		t.Errorf("the request: %v", got)
	}
	if got, want := told.Load(), "00-"+trace+"-"+answered.SpanContext.SpanID().String()+"-01"; got != want {
		t.Errorf("the provider was told %v, want %s", got, want)
	}
	exported.Reset()
	ask(chat("local", "hello", false, `"max_tokens":2`)) // llama-server does not mind
	collect(2)
	if got := traced(spans["chat starter"]); got["gen_ai.provider.name"] != "near" {
		t.Errorf("the local attempt: %v", got)
	}
}

func TestSpansTellNoKey(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "memory")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
	exported.Reset()
	g := newGateway(t)
	g.start(authSite(t, "tracing {\nspan door\n}", "tracing {\nspan room\n}"))
	body := chat("small", "hello", false)
	for way := range keyForms {
		if a := g.with(g.client("HTTP/1.1"), way, annsKey, body); a.status != http.StatusOK {
			t.Errorf("%s: got %d %s", way, a.status, a.body)
		}
		if a := g.with(g.client("HTTP/1.1"), way, unknownKey, body); a.status != http.StatusUnauthorized {
			t.Errorf("%s: got %d %s", way, a.status, a.body)
		}
	}
	behind := 0
	await(t, "spans", func() bool {
		behind = 0
		for _, s := range exported.GetSpans() {
			if s.Name == "room" {
				behind++
			}
		}
		return behind == len(keyForms)
	})
	for _, s := range exported.GetSpans() {
		if text := fmt.Sprint(s); strings.Contains(text, annsKey) || strings.Contains(text, unknownKey) {
			t.Errorf("%s tells a key: %s", s.Name, text)
		}
	}
}

func TestNothingIsTracedWithoutTheDirective(t *testing.T) {
	var told atomic.Value
	url := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		told.Store(r.Header.Get("Traceparent"))
		good(w, r)
	})
	g := newGateway(t)
	g.start(fmt.Sprintf("llm {\nprovider far openai %s\nmodel m {\nto far\n}\n}", url))
	req := g.request(t.Context(), chat("m", "hello", false))
	req.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	resp, err := g.client("HTTP/1.1").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got := told.Load(); got != "" {
		t.Errorf("the provider was told %v", got)
	}
}
