package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// TestModelUnderTestGetsCopies has one that answers, and then one that never does while the configuration changes.
func TestModelUnderTestGetsCopies(t *testing.T) {
	var copies, left atomic.Int64
	var model atomic.Value
	var hang atomic.Bool
	tested := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		model.Store(gjson.GetBytes(body, "model").Str)
		copies.Add(1)
		if hang.Load() {
			<-r.Context().Done()
			left.Add(1)
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		good(w, r)
	})
	mirrorRequests.Reset() // of other tests
	mirrorDuration.Reset()
	g := newGateway(t)
	g.options = "metrics"
	site := fmt.Sprintf(`llm {
		provider fine openai %s
		provider tested openai %s {
			transport http
		}
		model m {
			to fine
			mirror tested/its-new 100%% {
				timeout 1m
				max_requests 2
			}
		}
	}
	metrics /metrics`, upstream(t, good), tested)
	g.start(site)
	client := g.client("HTTP/2.0")
	const secret = "what nobody may log"
	const body = `{"model":"m","messages":[{"role":"user","content":"` + secret + `"}]}`
	ask := func(body string) {
		t.Helper()
		got, err := g.ask(t.Context(), client, body)
		if err != nil || got.status != http.StatusOK || got.header.Get("X-LLM-Provider") != "fine" || got.text() != goodText {
			t.Fatalf("got %d by %s, %v: %s", got.status, got.header.Get("X-LLM-Provider"), err, got.body)
		}
	}
	ended := func(outcome string) (n int) {
		for _, entry := range g.logged("mirrored request ended") {
			if entry["outcome"] == outcome && entry["provider"] == "tested" && entry["upstream_model"] == "its-new" && entry["model"] == "m" {
				n++
			}
		}
		return n
	}
	ask(body)
	ask(strings.Replace(body, `"m"`, `"m","stream":false,"provider":"fine"`, 1)) // which is not copied
	await(t, "end of the copy", func() bool { return ended("ok") == 1 })
	if n, name := copies.Load(), model.Load(); n != 1 || name != "its-new" {
		t.Errorf("%d requests were copied, for %s", n, name)
	}

	// Two copies wait, the third is dropped.
	hang.Store(true)
	for range 3 {
		ask(body)
	}
	await(t, "third copy to be dropped", func() bool { return ended("dropped") == 1 && copies.Load() == 3 })
	metrics := g.get(t, client, "/metrics")
	for _, want := range []string{
		`caddy_llm_mirror_requests_total{model="m",outcome="ok",provider="tested"} 1`,
		`caddy_llm_mirror_requests_total{model="m",outcome="dropped",provider="tested"} 1`,
		`caddy_llm_mirror_duration_seconds_count{model="m",provider="tested"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}

	// A reload does not wait for them.
	began := time.Now()
	if err := g.reload(strings.Replace(site, "max_requests 2", "max_requests 3", 1)); err != nil {
		t.Fatal(err)
	}
	await(t, "end of the copies", func() bool { return left.Load() == 2 && ended("canceled") == 2 })
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the reload took %v", took)
	}
	hang.Store(false)
	ask(body)
	await(t, "copy by the new configuration", func() bool { return ended("ok") == 2 })
	for _, entry := range g.logged("mirrored request ended") {
		if strings.Contains(fmt.Sprint(entry), secret) {
			t.Errorf("the log has %v", entry)
		}
	}
}

// get returns what a path of the site answers.
func (g *gateway) get(t *testing.T, client *http.Client, path string) string {
	t.Helper()
	req := g.request(t.Context(), "")
	req.Method, req.URL.Path = http.MethodGet, path
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %s, %v", resp.Status, err)
	}
	return string(text)
}
