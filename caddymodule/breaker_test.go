package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// fragile is a model server that works or does not, as a test wants.
type fragile struct {
	url    string
	broken atomic.Bool
	asked  atomic.Int64 // for answers
	looked atomic.Int64 // for the list of models
}

func newFragile(t *testing.T) *fragile {
	t.Helper()
	f := new(fragile)
	f.url = upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			f.looked.Add(1)
		} else {
			f.asked.Add(1)
		}
		if f.broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"error":{"message":"at 10.0.0.1"}}`)
			return
		}
		good(w, r)
	})
	return f
}

// pair is a site with a fragile provider, called a, and one that works, b. options are further lines of llm.
func pair(t *testing.T, a *fragile, options string) string {
	t.Helper()
	return fmt.Sprintf(`llm_health /health
	llm {
		provider a openai %s
		provider b openai %s
		model m {
			to a b
		}
		%s
	}`, a.url, upstream(t, good), options)
}

// by returns the provider that answers.
func (g *gateway) by(t *testing.T) string {
	t.Helper()
	text, header, err := g.chat(t, "m", false)
	if err != nil || text != goodText {
		t.Fatalf("got %q, %v", text, err)
	}
	return header.Get("X-Llm-Provider")
}

// targets returns what /health says of the targets of the model m.
func (g *gateway) targets() []targetHealth {
	g.t.Helper()
	var report healthReport
	g.read("/health", &report)
	return report.Models["m"].Targets
}

// stateCount returns how many states are shared.
func stateCount() (n int) {
	states.Range(func(_, _ any) bool { n++; return true })
	return n
}

func TestTargetThatIsDownStaysDownOverReloads(t *testing.T) {
	a := newFragile(t)
	a.broken.Store(true)
	g := newGateway(t)
	g.retry = true // right after a reload a connection may be lost
	site := pair(t, a, "fail_duration 10m\nmax_fails 2")
	g.start(site)
	for range 4 {
		if by := g.by(t); by != "b" {
			t.Errorf("answered by %s, want b", by)
		}
	}
	if n := a.asked.Load(); n != 2 {
		t.Errorf("a was asked %d times, want 2", n)
	}
	for i := range 20 {
		if err := g.reload(strings.Replace(site, "10m", fmt.Sprintf("%dm", 11+i), 1)); err != nil {
			t.Fatal(err)
		}
		if by := g.by(t); by != "b" {
			t.Errorf("answered by %s, want b", by)
		}
	}
	if n := a.asked.Load(); n != 2 {
		t.Errorf("after reloads a was asked %d times, want 2", n)
	}
	down := g.targets()[0]
	if down.State != llmgateway.StateDown || down.Reason != "2 failures in a row, at last: HTTP 500" || time.Until(down.Until) < 25*time.Minute {
		t.Errorf("health says %+v", down)
	}
	if logged := g.logged("target is down"); len(logged) != 1 || logged[0]["reason"] != down.Reason || logged[0]["provider"] != "a" {
		t.Errorf("logged %v, want one line", logged)
	}

	// Thresholds are the configuration's.
	if err := g.reload(strings.Replace(site, "max_fails 2", "max_fails 3", 1)); err != nil {
		t.Fatal(err)
	}
	await(t, "max_fails 3", func() bool { return g.targets()[0].State == llmgateway.StateReady })
	a.broken.Store(false)
	await(t, "a's answer", func() bool { return g.by(t) == "a" })
	if err := g.reload(site); err != nil {
		t.Fatal(err)
	}
	if by := g.by(t); by != "a" {
		t.Errorf("answered by %s, want a", by)
	}
	if n := stateCount(); n != 2 {
		t.Errorf("%d states are shared, want 2", n)
	}
	if logged := g.logged("target is up"); len(logged) != 1 {
		t.Errorf("logged %v, want one line", logged)
	}

	if err := g.reload("respond ok"); err != nil {
		t.Fatal(err)
	}
	await(t, "end of states", func() bool { return stateCount() == 0 })
}

func TestReloadThatFailsKeepsStates(t *testing.T) {
	a := newFragile(t)
	a.broken.Store(true)
	g := newGateway(t)
	g.retry = true // right after a reload a connection may be lost
	site := pair(t, a, "fail_duration 10m")
	g.start(site)
	g.by(t)
	for _, wrong := range []string{
		strings.Replace(site, "fail_duration 10m", "fail_duration 10m\nlb_policy weighted_round_robin 1", 1),
		strings.Replace(site, "fail_duration 10m", "health_timeout 10m", 1),
	} {
		if err := g.reload(wrong); err == nil {
			t.Error("the reload did not fail")
		}
	}
	if n := stateCount(); n != 2 {
		t.Errorf("%d states are shared, want 2", n)
	}
	if by := g.by(t); by != "b" || a.asked.Load() != 1 {
		t.Errorf("answered by %s after asking a %d times, want b after 1", by, a.asked.Load())
	}
}

func TestTargetsOfDifferentAccountsAreNotOne(t *testing.T) {
	a := newFragile(t)
	a.broken.Store(true)
	g := newGateway(t)
	g.retry = true // right after a reload a connection may be lost
	t.Setenv("LLMGATEWAY_TEST_KEY", secret)
	site := pair(t, a, "fail_duration 10m")
	g.start(site)
	g.by(t)
	if err := g.reload(strings.Replace(site, a.url, a.url+" {\napi_key {env.LLMGATEWAY_TEST_KEY}\n}", 1)); err != nil {
		t.Fatal(err)
	}
	await(t, "another key, which is not down", func() bool { return g.targets()[0].State == llmgateway.StateReady })
	states.Range(func(key, _ any) bool {
		if strings.Contains(fmt.Sprint(key), secret) {
			t.Errorf("the key is in %v", key)
		}
		return true
	})
}

func TestHealthChecksFindOutWithoutRequests(t *testing.T) {
	a := newFragile(t)
	a.broken.Store(true)
	g := newGateway(t)
	g.retry = true // right after a reload a connection may be lost
	site := pair(t, a, "health_interval 20ms\nhealth_timeout 5s")
	g.start(site)
	await(t, "failed health check", func() bool { return g.targets()[0].State == llmgateway.StateDown })
	if by := g.by(t); by != "b" || a.asked.Load() != 0 {
		t.Errorf("answered by %s after asking a %d times, want b after 0", by, a.asked.Load())
	}
	if reason := g.targets()[0].Reason; reason != "health check: HTTP 500" {
		t.Errorf("got %q", reason)
	}
	a.broken.Store(false)
	await(t, "good health check", func() bool { return g.targets()[0].State == llmgateway.StateReady })
	if by := g.by(t); by != "a" {
		t.Errorf("answered by %s, want a", by)
	}
	if err := g.reload(strings.Replace(site, "health_interval 20ms\nhealth_timeout 5s", "", 1)); err != nil {
		t.Fatal(err)
	}
	// Caddy cleans up before it answers, and a check that was on its way has ended then.
	looked := a.looked.Load()
	time.Sleep(100 * time.Millisecond)
	if n := a.looked.Load(); n != looked {
		t.Errorf("%d checks after they were switched off", n-looked)
	}
}

func TestPoliciesSpreadRequests(t *testing.T) {
	for policy, want := range map[string]map[string]int{
		"round_robin":              {"a": 6, "b": 6},
		"weighted_round_robin 3 1": {"a": 9, "b": 3},
		"first":                    {"a": 12},
	} {
		t.Run(policy, func(t *testing.T) {
			g := newGateway(t)
			g.start(pair(t, newFragile(t), "lb_policy "+policy))
			got := make(map[string]int)
			for range 12 {
				got[g.by(t)]++
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}
