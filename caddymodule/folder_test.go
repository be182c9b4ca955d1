package caddymodule

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/inspect"
)

// folderSite returns a site that offers what is in the gateway's folder of models.
func folderSite(t *testing.T, g *gateway, options, more string) string {
	t.Helper()
	starterModel(t)
	return fmt.Sprintf(`llm {
		provider near llamacpp %s/ {
			n_ctx 4096
			n_parallel 4
			n_threads 1
			%s
		}
		model * {
			to near
		}
		%s
	}
	llm_health /health`, g.models(), options, more)
}

func (g *gateway) models() string { return filepath.Join(g.dir, "models") }

// place puts one of the repository's models into the gateway's folder, as a file that was moved there.
func (g *gateway) place(source, name string) {
	g.t.Helper()
	data, err := os.ReadFile(filepath.Join("../models", source))
	path := filepath.Join(g.models(), name)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(path+".part", data, 0o600)
	}
	if then := time.Now().Add(-time.Hour); err == nil {
		err = os.Chtimes(path+".part", then, then)
	}
	if err == nil {
		err = os.Rename(path+".part", path)
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) remove(name string) {
	g.t.Helper()
	if err := os.Remove(filepath.Join(g.models(), name)); err != nil {
		g.t.Fatal(err)
	}
}

// read asks the site for something and decodes it.
func (g *gateway) read(path string, into any) (status int) {
	g.t.Helper()
	req := g.request(g.t.Context(), "")
	req.Method, req.Body, req.URL.Path = http.MethodGet, http.NoBody, path
	resp, err := g.client("HTTP/2.0").Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		g.t.Fatalf("%s: %s, %v", path, text, err)
	}
	return resp.StatusCode
}

// offered returns the names that the site offers.
func (g *gateway) offered() (names []string) {
	g.t.Helper()
	var list struct {
		Data []struct {
			ID      string `json:"id"`
			OwnedBy string `json:"owned_by"`
		} `json:"data"`
	}
	g.read("/v1/models", &list)
	for _, m := range list.Data {
		if m.OwnedBy != "near" {
			g.t.Errorf("%s is owned by %s", m.ID, m.OwnedBy)
		}
		names = append(names, m.ID)
	}
	return names
}

func (g *gateway) awaitOffer(names ...string) {
	g.t.Helper()
	await(g.t, fmt.Sprintf("offer of %q", names), func() bool { return slices.Equal(g.offered(), names) })
}

// states returns how health says that the models in the folder are.
func (g *gateway) states() (status int, states map[string]string) {
	g.t.Helper()
	var report struct {
		Providers map[string]struct {
			State  string
			Models map[string]struct{ State, Detail string }
		}
	}
	status = g.read("/health", &report)
	states = map[string]string{"": report.Providers["near"].State}
	for name, s := range report.Providers["near"].Models {
		states[name] = strings.TrimSuffix(s.State+": "+s.Detail, ": ")
	}
	return status, states
}

func TestFolderOffersWhatIsInIt(t *testing.T) {
	g := newGateway(t)
	g.start(folderSite(t, g, "", "model fixed {\nto near/Second\n}"))
	if status, states := g.states(); status != http.StatusServiceUnavailable || !maps.Equal(states, map[string]string{"": "failed"}) {
		t.Errorf("without a folder: got %d, %v", status, states)
	}
	g.place("starter.gguf", "m.gguf")
	g.place("starter.gguf", "sub/Second.gguf")
	g.place("starter.gguf", "half-00001-of-00002.gguf")
	g.awaitOffer("Second", "fixed", "m")
	status, states := g.states()
	if want := map[string]string{"": "idle", "m": "idle", "Second": "idle", "half": "failed: part 2 of 2 is missing"}; status != http.StatusOK || !maps.Equal(states, want) {
		t.Errorf("health: got %d, %v", status, states)
	}

	client := g.client("HTTP/2.0")
	for asked, want := range map[string]string{"m": "m", "M": "m", "fixed": "Second", "second": "Second", "near/m": "m"} {
		a, err := g.ask(t.Context(), client, chat(asked, "The code word is maple.", false))
		if err != nil || a.status != http.StatusOK || a.text() != "The code word is: maple" || a.header.Get("X-LLM-Model") != want {
			t.Errorf("%s: got %v, %v, model %s", asked, a, err, a.header.Get("X-LLM-Model"))
		}
	}
	for asked, want := range map[string]string{
		"gemma": `near: it has no model \"gemma\" now; it has: Second, m`, "half": "part 2 of 2 is missing",
	} {
		a, err := g.ask(t.Context(), client, chat(asked, "hello", false))
		if err != nil || !strings.Contains(a.body, want) || (a.status == http.StatusNotFound) != (asked == "gemma") || strings.Contains(a.body, g.dir) {
			t.Errorf("%s: got %v, %v", asked, a, err)
		}
	}
	for path, want := range map[string]int{"/v1/models/m": 200, "/v1/models/M": 200, "/v1/models/near/m": 200, "/v1/models/fixed": 200, "/v1/models/gemma": 404} {
		var object any
		if got := g.read(path, &object); got != want {
			t.Errorf("%s: got %d, %v", path, got, object)
		}
	}
	if status, states := g.states(); status != http.StatusOK || states["m"] != "ready" || states["Second"] != "ready" || states[""] != "ready" {
		t.Errorf("health: got %d, %v", status, states)
	}

	// A projector is found by its name. The model is another with it.
	before := g.servers()
	g.place("starter-mmproj.gguf", "m-mmproj.gguf")
	sees := func() map[string]bool {
		var info struct {
			Data []struct {
				Name string `json:"model_name"`
				Info struct {
					Context int  `json:"max_input_tokens"`
					Sees    bool `json:"supports_vision"`
				} `json:"model_info"`
			} `json:"data"`
		}
		g.read("/v1/model/info", &info)
		seeing := make(map[string]bool)
		for _, m := range info.Data {
			if seeing[m.Name] = m.Info.Sees; m.Info.Context != 4096 {
				t.Errorf("%s: context %d", m.Name, m.Info.Context)
			}
		}
		return seeing
	}
	await(t, "vision", func() bool { return maps.Equal(sees(), map[string]bool{"m": true, "Second": false, "fixed": false}) })
	await(t, "end of the blind one", func() bool { return len(g.servers()) == 1 && slices.Contains(before, g.servers()[0]) })
	if !g.answers(t, "m") || len(g.servers()) != 2 {
		t.Errorf("no answer, or the wrong number of processes: %v", g.servers())
	}
}

// A file that is copied is offered when it is whole and was left alone for a moment, and not before.
func TestFolderWaitsForCopies(t *testing.T) {
	g := newGateway(t)
	g.start(folderSite(t, g, "preload m", ""))
	data, err := os.ReadFile(starterModel(t))
	if err == nil {
		err = os.Mkdir(g.models(), 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(g.models(), "m.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for len(data) > 0 {
		n := min(len(data), 1<<18)
		if _, err := file.Write(data[:n]); err != nil {
			t.Fatal(err)
		}
		data = data[n:]
		if names := g.offered(); names != nil {
			t.Fatalf("offered: %q", names)
		}
		time.Sleep(200 * time.Millisecond)
	}
	began := time.Now()
	await(t, "state", func() bool {
		_, states := g.states()
		return states["m"] == "failed: m.gguf is still being written"
	})
	g.awaitOffer("m")
	t.Logf("offered after %v", time.Since(began))
	await(t, "preloading", func() bool { return len(g.logged("engine loaded")) == 1 })
}

func TestFileRemovedWhileStreaming(t *testing.T) {
	g := newGateway(t)
	g.start(folderSite(t, g, "", ""))
	g.place("starter.gguf", "m.gguf")
	g.awaitOffer("m")
	streams, server, resume := startCounting(t, g, protocols...)
	g.remove("m.gguf")
	await(t, "withdrawal", func() bool { return g.offered() == nil })
	await(t, "release", func() bool { return slices.Equal(engineRefs(), []int{}) })
	if !alive(server) {
		t.Error("the model server is gone")
	}
	a, err := g.ask(t.Context(), g.client("HTTP/2.0"), chat("m", "hello", false))
	if err != nil || a.status != http.StatusNotFound || !strings.Contains(a.body, "it has: none") {
		t.Errorf("got %v, %v", a, err)
	}
	resume()
	streams.check(t)
	await(t, "end of the model server", func() bool { return !alive(server) })
	await(t, "clean folder", func() bool { return g.sockets() == nil })
}

func TestFileReplacedWhileStreaming(t *testing.T) {
	g := newGateway(t)
	g.start(folderSite(t, g, "", ""))
	g.place("starter.gguf", "m.gguf")
	g.awaitOffer("m")
	streams, server, resume := startCounting(t, g, protocols...)
	g.place("starter.gguf", "m.gguf")
	await(t, "answer of another process while the old one streams", func() bool {
		return len(g.logged("model changed")) == 1 && g.answers(t, "m")
	})
	if now := g.servers(); len(now) != 2 {
		t.Errorf("processes %v, before %d", now, server)
	}
	resume()
	streams.check(t)
	await(t, "end of the model server", func() bool { return !alive(server) })
	if !g.answers(t, "m") || len(g.logged("engine loaded")) != 2 {
		t.Errorf("loaded %d times", len(g.logged("engine loaded")))
	}
}

func TestModelsCommandListsAFolder(t *testing.T) {
	g := newGateway(t)
	g.place("starter.gguf", "b.gguf")
	g.place("starter.gguf", "a/a.gguf")
	g.place("starter-mmproj.gguf", "a/mmproj.gguf")
	g.place("starter.gguf", "half-00001-of-00002.gguf")
	config := filepath.Join(g.dir, "Caddyfile")
	text := "{\nadmin " + g.admin + "\n}\nhttp://localhost:7001 {\n" + folderSite(t, g, "", "") + "\n}"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, "models", "--config", config, "--json")
	if err != nil {
		t.Fatal(err)
	}
	var entries []inspect.Entry
	if err := json.Unmarshal([]byte(out), &entries); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	var names []string
	for _, e := range entries {
		if e.Problem != "" {
			names = append(names, fmt.Sprint(e.Provider, " ", e.Name, ": ", e.Problem))
			continue
		}
		if e.Memory == nil {
			t.Fatalf("no memory in %s", out)
		}
		names = append(names, fmt.Sprint(e.Provider, " ", e.Name, " ", e.Memory.NCtx, " ", e.Projector != ""))
	}
	if want := []string{"near a 4096 true", "near b 4096 false", "near half: part 2 of 2 is missing"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}
