package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/inspect"
)

// command runs `caddy llm` with arguments and returns what it prints.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	root := &cobra.Command{Use: "llm", SilenceUsage: true, SilenceErrors: true}
	caddycmd.Commands()["llm"].CobraFunc(root)
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

// statusOf is an admin endpoint with a status, and returns its address.
func statusOf(t *testing.T, answer string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/llm/status" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// nowhere is an address where nobody listens.
const nowhere = "127.0.0.1:1"

func TestModelsCommandListsFolders(t *testing.T) {
	text, err := command(t, "models", "--address", nowhere, filepath.Join(repository, "models"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NAME", "starter", "llama", "tools", "MEMORY"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "STATE") {
		t.Errorf("a state without a gateway:\n%s", text)
	}
	if _, err := command(t, "models", "--address", nowhere, "/no/such/folder"); err == nil {
		t.Error("a folder that does not exist is no error")
	}
}

func TestModelsCommandListsWhatAConfigurationRuns(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "Caddyfile")
	text := `
	{
		admin ` + statusOf(t, `{"providers": [{"name": "near", "state": "ready"}, {"name": "twin", "state": "idle"}], "engines": [{"name": "starter", "state": "failed"}]}`) + `
	}
	(models) {
		provider near llamacpp ` + starterModel(t) + ` {
			n_ctx 2048
			n_parallel 2
		}
		provider twin llamacpp ` + starterModel(t) + `
		provider gone llamacpp /no/such/\x1b.gguf
		provider far echo
		model m {
			to near far
		}
	}
	http://localhost:7001 {
		llm {
			import models
		}
	}
	http://localhost:7002 {
		handle /x/* {
			llm {
				import models
			}
		}
	}
	`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, "models", "--config", config, "--json")
	if err != nil {
		t.Fatal(err)
	}
	var got []inspect.Entry
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if len(got) != 3 || got[0].Provider != "gone" || got[0].Problem != "missing" || got[0].State != "" {
		t.Fatalf("got %s", out)
	}
	if near := got[1]; near.Provider != "near" || near.State != "ready" || near.Memory.NCtx != 2048 || near.Memory.NParallel != 2 {
		t.Errorf("got %+v", near)
	}
	if twin := got[2]; twin.Provider != "twin" || twin.Name != got[1].Name || twin.State != "idle" {
		t.Errorf("got %+v", twin)
	}
}

func TestModelsCommandListsWhatIsBrokenInAFolder(t *testing.T) {
	dir := t.TempDir()
	models := filepath.Join(dir, "models")
	starter, err := os.ReadFile(starterModel(t))
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "Caddyfile")
	text := fmt.Sprintf("http://localhost:7001 {\nllm {\nprovider all llamacpp %s/\nmodel * {\nto all\n}\n}\n}", models)
	for path, data := range map[string][]byte{
		filepath.Join(models, "good.gguf"): starter, filepath.Join(models, "cut.gguf"): starter[:1000], config: []byte(text),
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	out, err := command(t, "models", "--config", config, "--address", nowhere, "--json")
	var got []inspect.Entry
	if err := errors.Join(err, json.Unmarshal([]byte(out), &got)); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if len(got) != 2 || got[0].Name != "good" || got[0].Problem != "" || got[1].Name != "cut" || got[1].Problem == "" || got[1].Provider != "all" {
		t.Errorf("got %s", out)
	}
}

func TestModelsCommandToleratesAnyAdminEndpoint(t *testing.T) {
	for _, answer := range []string{"", "null", "{}", "not JSON", "[]", `{"engines": [{"name": 7}]}`, `{"engines": [{}], "providers": null}`} {
		text, err := command(t, "models", "--address", statusOf(t, answer), filepath.Join(repository, "models"))
		if err != nil || !strings.Contains(text, "starter") || strings.Contains(text, "STATE") {
			t.Errorf("%s: got %v\n%s", answer, err, text)
		}
	}
}

func TestInspectCommandFailsForABrokenFile(t *testing.T) {
	text, err := command(t, "inspect", "--n-ctx", "1024", starterModel(t))
	if err != nil || !strings.Contains(text, "n_ctx 1024 and n_parallel 1") || !strings.Contains(text, "with starter-mmproj.gguf") {
		t.Errorf("got %v\n%s", err, text)
	}
	whole, err := os.ReadFile(starterModel(t))
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(t.TempDir(), "half\x1b[2J.gguf")
	if err := os.WriteFile(half, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := command(t, "frobnicate"); err == nil || !strings.Contains(err.Error(), "frobnicate") {
		t.Errorf("an unknown command: got %v", err)
	}
	for _, flags := range [][]string{nil, {"--json"}} {
		text, err = command(t, append([]string{"inspect", half}, flags...)...)
		if err == nil || !strings.Contains(text, "download interrupted") || strings.Contains(text+err.Error(), "\x1b") {
			t.Errorf("%v: got %v\n%s", flags, err, text)
		}
	}
}
