package caddymodule

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// status returns what the admin API says of the gateway.
func (g *gateway) status() (s gatewayStatus) {
	g.t.Helper()
	if err := json.Unmarshal([]byte(g.look("/llm/status")), &s); err != nil {
		g.t.Fatal(err)
	}
	return s
}

// target returns how the target with an id is.
func (g *gateway) target(id string) (found targetStatus) {
	g.t.Helper()
	for _, t := range g.status().Targets {
		if t.ID == id {
			found = t
		}
	}
	return found
}

// awaitCached waits until the cache has so many answers: they are kept when their clients may have gone on.
func (g *gateway) awaitCached(answers int) {
	g.t.Helper()
	await(g.t, fmt.Sprint(answers, " answers in the cache"), func() bool {
		c := g.status().Caches
		return len(c) == 1 && *c[0].Answers == answers && *c[0].Bytes > 0
	})
}

// act sends a POST request to the admin API.
func (g *gateway) act(path string) (status int, text string) {
	g.t.Helper()
	resp, err := adminClient.Post("http://"+g.admin+path, "", strings.NewReader(""))
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// stoppable is a model server whose streams stay open until finish is called.
func stoppable(t *testing.T) (url string, finish func()) {
	t.Helper()
	end := make(chan struct{})
	url = upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if !wantsStream(r) {
			good(w, r)
			return
		}
		say(w, "begun")
		select {
		case <-end:
			sayDone(w)
		case <-r.Context().Done():
		}
	})
	return url, func() { close(end) }
}

func TestDrainedTargetFinishesWhatItHasAndStaysDrainedOverReloads(t *testing.T) {
	slow, finish := stoppable(t)
	g := newGateway(t)
	site := fmt.Sprintf(`llm_health /health
	llm {
		provider a openai %s
		provider b openai %s
		model m {
			to a/org/big b
		}
		model only {
			to a/org/big
		}
	}`, slow, upstream(t, good))
	g.spawn(site)
	s, err := g.open(t.Context(), g.client("HTTP/2.0"), chat("m", "hello", true))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.word(); err != nil {
		t.Fatal(err)
	}
	if got := g.target("a/org/big"); got.State != llmgateway.StateReady || got.InFlight != 1 || g.status().InFlight != 1 {
		t.Errorf("with a stream: %+v", got)
	}
	code, text := g.act("/llm/targets/a/org/big/drain")
	if code != http.StatusOK || !gjson.Get(text, "drained").Bool() || gjson.Get(text, "in_flight").Int() != 1 {
		t.Fatalf("drain: %d %s", code, text)
	}
	check := func(when string) {
		t.Helper()
		if by := g.by(t); by != "b" {
			t.Errorf("%s: answered by %s", when, by)
		}
		if got := g.target("a/org/big"); got.State != llmgateway.StateDrained || got.Since.IsZero() {
			t.Errorf("%s: %+v", when, got)
		}
		if text, _, err := g.chat(t, "only", false); err == nil || !strings.Contains(err.Error(), "drained") {
			t.Errorf("%s: the model that has only this target: %q, %v", when, text, err)
		}
	}
	check("at once")
	for _, target := range g.targets() {
		if target.Provider == "a" && target.State != llmgateway.StateDrained {
			t.Errorf("health: %+v", target)
		}
	}
	if err := g.reload(site + "\n# changed"); err != nil {
		t.Fatal(err)
	}
	check("after a reload")
	if err := g.reload("llm {\nprovider a llamacpp /x.gguf\n}"); err == nil {
		t.Error("a configuration without models was taken")
	}
	check("after a reload that failed")

	finish()
	if _, err := s.rest(); err != nil || !s.done {
		t.Errorf("the stream that ran: done %t, %v", s.done, err)
	}
	if code, text := g.act("/llm/targets/a/org/big/resume"); code != http.StatusOK || gjson.Get(text, "drained").Bool() {
		t.Fatalf("resume: %d %s", code, text)
	}
	if by := g.by(t); by != "a" {
		t.Errorf("after resume: answered by %s", by)
	}
}

func TestAdminActionsSayWhatIsWrongWithThem(t *testing.T) {
	g := newGateway(t)
	g.spawn("llm {\nprovider a echo\nmodel m {\nto a\n}\n}")
	for _, test := range []struct {
		path string
		want int
	}{
		{"/llm/targets/a/m/drain", http.StatusOK},
		{"/llm/targets/a/m/resume", http.StatusOK},
		{"/llm/targets/b/drain", http.StatusNotFound},
		{"/llm/targets/a/m", http.StatusNotFound},
		{"/llm/targets/", http.StatusNotFound},
		{"/llm/targets/a/m/stop", http.StatusNotFound},
		{"/llm/cache/purge", http.StatusNotFound},
		{"/llm/cache/purge?model=m", http.StatusBadRequest},
		{"/llm/status", http.StatusMethodNotAllowed},
	} {
		if got, text := g.act(test.path); got != test.want || got != http.StatusOK && !gjson.Get(text, "error").Exists() {
			t.Errorf("POST %s: got %d %s, want %d", test.path, got, text, test.want)
		}
	}
	resp, err := adminClient.Get("http://" + g.admin + "/llm/targets/a/m/drain")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed || g.target("a/m").State != llmgateway.StateReady {
		t.Errorf("GET: got %s", resp.Status)
	}
}

func TestStatusShowsTheWholeGatewayAndNoSecrets(t *testing.T) {
	const secret = "sk-planted-secret"
	url, asked := countingUpstream(t)
	a := newFragile(t)
	g := newGateway(t)
	g.env = []string{"PLANTED_KEY=" + secret}
	site := fmt.Sprintf(`route {
		llm_limit {
			key everybody
			tokens 100000 per 1h
			spend 5 USD per 24h
			parallel 7
		}
		llm {
			provider far openai %s {
				api_key {env.PLANTED_KEY}
			}
			provider frail openai %s
			provider off openai {
				api_key {env.NOT_SET}
			}
			provider near llamacpp %q
			model m {
				to far off near
			}
			model weak {
				to frail
			}
			fail_duration 1h
			cache memory
		}
	}`, url, a.url, starterModel(t))
	g.spawn(site)
	for range 2 {
		if _, _, err := g.chat(t, "m", false); err != nil {
			t.Fatal(err)
		}
		g.awaitCached(1)
	}
	a.broken.Store(true)
	if _, _, err := g.chat(t, "weak", false); err == nil {
		t.Fatal("a broken provider answered")
	}
	if err := g.reload("llm {\nprovider a llamacpp /x.gguf\n}"); err == nil {
		t.Error("a configuration without models was taken")
	}
	text := g.look("/llm/status")
	if strings.Contains(text, secret) || strings.Contains(text, "hello") || strings.Contains(text, "10.0.0.1") || strings.Contains(text, "/root") {
		t.Errorf("the status tells too much: %s", text)
	}
	s := g.status()
	if len(s.Providers) != 4 || s.Providers[3].Name != "off" || s.Providers[3].State != llmgateway.StateDisabled {
		t.Errorf("providers: %+v", s.Providers)
	}
	var ids []string
	for _, target := range s.Targets {
		ids = append(ids, target.ID)
	}
	if got := strings.Join(ids, " "); got != "far/m near off/m frail/weak" {
		t.Errorf("targets: %s", got)
	}
	if weak := s.Targets[3]; weak.State != llmgateway.StateDown || weak.Since.IsZero() || !weak.Until.After(weak.Since) || weak.Reason == "" {
		t.Errorf("the target that is down: %+v", weak)
	}
	if len(s.Engines) != 1 || s.Engines[0].Name != "starter" || s.Memory.MaxBytes == 0 {
		t.Errorf("engines: %+v, memory %+v", s.Engines, s.Memory)
	}
	if len(s.Caches) != 1 || *s.Caches[0].Answers != 1 || *s.Caches[0].Bytes == 0 || s.Caches[0].Results["hit"] != 1 || s.Caches[0].Results["miss"] != 1 {
		t.Errorf("caches: %+v", s.Caches)
	}
	if len(s.Limits) != 1 || s.Limits[0].Parallel != 7 || s.Limits[0].Tokens[0].Max != 100000 || s.Limits[0].Spend[0].Max != 5 {
		t.Errorf("limits: %+v", s.Limits)
	}
	if code, answer := g.act("/llm/cache/purge"); code != http.StatusOK || answer != "{\"purged\":1}\n" && answer != `{"purged":1}` {
		t.Errorf("purge: %d %s", code, answer)
	}
	before := asked.Load()
	if _, _, err := g.chat(t, "m", false); err != nil || asked.Load() != before+1 {
		t.Errorf("after the purge: %v, asked %d times", err, asked.Load()-before)
	}
}
