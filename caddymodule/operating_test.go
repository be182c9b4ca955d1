package caddymodule

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// operating returns docs/operating.md.
func operating(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "docs", "operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every command in the document works, with this very program as bin/caddy.
func TestCommandsOfTheOperatingDocumentWork(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	g := newGateway(t)
	g.options = "metrics"
	site := fmt.Sprintf("llm {\nprovider hf openai %s\nmodel auto {\nto hf/Qwen/Qwen2.5-7B-Instruct\n}\ncache memory\n}", upstream(t, good))
	g.spawn(site)
	dir := filepath.Join(g.dir, "checkout")
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(os.Args[0], filepath.Join(dir, "bin", "caddy")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Caddyfile"), []byte(g.caddyfile(site)), 0o600); err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(operating(t), -1)
	if len(commands) < 7 {
		t.Errorf("there are only %d commands", len(commands))
	}
	scripts, err := filepath.Abs(filepath.Join(repository, "deploy", "container"))
	if err != nil {
		t.Fatal(err)
	}
	inside := strings.NewReplacer("localhost:2019", g.admin, "podman exec llmgateway ", "CADDY_ADMIN="+g.admin+" "+scripts+"/")
	for _, match := range commands {
		text := inside.Replace(match[1])
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", text)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+g.dir, "XDG_DATA_HOME="+g.dir, "XDG_CONFIG_HOME="+g.dir, "no_proxy=*")
		if out, err := cmd.CombinedOutput(); err != nil || len(out) == 0 {
			t.Errorf("%s: %v\n%s", match[1], err, out)
		}
	}
}

// The document names all metrics that there are, and no others.
func TestOperatingDocumentHasAllMetrics(t *testing.T) {
	documented := make(map[string]bool)
	for _, match := range regexp.MustCompile("(?m)^\\| (`(?:caddy_llm|gen_ai).*?) \\|").FindAllStringSubmatch(operating(t), -1) {
		for name := range strings.SplitSeq(match[1], ", ") {
			documented[strings.Trim(name, "`")] = true
		}
	}
	exported := mixedGateway(t).families()
	for name := range exported {
		if (strings.HasPrefix(name, "caddy_llm_") || strings.HasPrefix(name, "gen_ai_")) && !documented[name] {
			t.Errorf("the document lacks %s", name)
		}
	}
	for name := range documented {
		if exported[name] == nil {
			t.Errorf("there is no %s", name)
		}
	}
}
