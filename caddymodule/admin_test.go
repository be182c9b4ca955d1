package caddymodule

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// look gets something from the admin API.
func (g *gateway) look(path string) string {
	g.t.Helper()
	// With a body, if an empty one, it is repeated if a reload closes its connection.
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodGet, "http://"+g.admin+path, strings.NewReader(""))
	if err != nil {
		g.t.Fatal(err)
	}
	resp, err := adminClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		g.t.Fatalf("%s: %s %s, %v", path, resp.Status, text, err)
	}
	return string(text)
}

// engines returns what the admin API says of the local models.
func (g *gateway) engines() (reports []engineReport) {
	g.t.Helper()
	if err := json.Unmarshal([]byte(g.look("/llm/engines")), &reports); err != nil {
		g.t.Fatal(err)
	}
	return reports
}

// oneSlotSite returns a site whose local model answers one request at a time.
func oneSlotSite(t *testing.T) string {
	return fmt.Sprintf("turnstile\nllm {\nprovider near llamacpp %q {\nn_ctx 4096\nn_threads 1\n}\nmodel m {\nto near\n}\n}", starterModel(t))
}

func TestAdminShowsWhoRunsAndWhoWaits(t *testing.T) {
	g := newGateway(t)
	g.options = "metrics"
	g.spawn(oneSlotSite(t))
	if got := g.engines(); len(got) != 1 || got[0].Name != "starter" || got[0].State != "idle" || got[0].PID != 0 {
		t.Errorf("before the first request: got %+v", got)
	}
	streams, server, resume := startCounting(t, g, "HTTP/2.0")
	waiting := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := g.ask(t.Context(), g.client("HTTP/1.1"), chat("m", "hello", false))
			waiting <- err
		}()
	}
	var got engineReport
	await(t, "two requests that wait", func() bool {
		got = g.engines()[0]
		return len(got.Queue.Waiting) == 2
	})
	if got.State != "ready" || got.PID != server || !got.Resident || got.EstimatedBytes == 0 || len(got.Queue.Running) != 1 ||
		got.Queue.Waiting[0].Position != 1 || got.Queue.Waiting[1].Position != 2 || got.Queue.LongestWait <= 0 {
		t.Errorf("got %+v", got)
	}
	metrics := g.look("/metrics")
	for _, want := range []string{
		`caddy_llm_engine_up{engine="starter"} 1`, `caddy_llm_engine_running{engine="starter"} 1`,
		`caddy_llm_queue_length{engine="starter"} 2`, `caddy_llm_engine_bytes{engine="starter"} `, "caddy_llm_memory_max_bytes ",
		"caddy_llm_memory_used_bytes ",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	resume()
	streams.check(t)
	for range 2 {
		if err := <-waiting; err != nil {
			t.Error(err)
		}
	}
	if memory := g.look("/llm/memory"); !strings.Contains(memory, `"engine":"starter"`) {
		t.Errorf("memory: %s", memory)
	}
}

// Two configurations may have engines of one name, and there is a new registry with each configuration.
func TestMetricsSurviveReloadsAndEqualNames(t *testing.T) {
	g := newGateway(t)
	g.options = "metrics"
	two := fmt.Sprintf("llm {\nprovider a llamacpp %[1]q\nprovider b llamacpp %[1]q {\nn_batch 64\n}\nmodel m {\nto a b\n}\n}", starterModel(t))
	g.spawn(two)
	for range 3 {
		if metrics := g.look("/metrics"); strings.Count(metrics, `caddy_llm_queue_length{engine="starter"} 0`) != 1 {
			t.Fatalf("metrics are not as expected:\n%s", metrics)
		}
		if err := g.reload(two); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.reload("llm {\nprovider a llamacpp /x.gguf\n}"); err == nil {
		t.Error("a configuration without models was taken")
	}
	if got := g.engines(); len(got) != 2 || !strings.Contains(g.look("/metrics"), "caddy_llm_queue_length") {
		t.Errorf("after a reload that failed: %+v", got)
	}
}

func TestAdminAnswersHoldNoPathsAndChangeNothing(t *testing.T) {
	g := newGateway(t)
	g.spawn(localSite(t, "", ""))
	checkWord(t, g, "near")
	for _, path := range []string{"/llm/engines", "/llm/memory"} {
		if text := g.look(path); strings.Contains(text, "/") || strings.Contains(text, "maple") {
			t.Errorf("%s: %s", path, text)
		}
		resp, err := adminClient.Post("http://"+g.admin+path, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: got %s", path, resp.Status)
		}
	}
}
