package caddymodule

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWatchedConfigFileTakesEffectWhenItChanges(t *testing.T) {
	model := starterModel(t)
	g := newGateway(t)
	f := &front{t: t, url: "http://" + g.address}
	f.hf.start(t)
	f.openrouter.start(t)
	for name, value := range f.variables() {
		g.env = append(g.env, name+"="+value)
	}
	g.env = append(g.env, "LOCAL_MODEL_PATH="+model, "CADDY_ADMIN="+g.admin)
	file := filepath.Join(g.dir, "config.yaml")
	_, port, _ := net.SplitHostPort(g.address)
	seed := frontEnds[0].base(t, port)
	write := func(changes edits) {
		t.Helper()
		if err := os.WriteFile(file, []byte(changes.apply(t, seed)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const order = "priority: [local, hf, openrouter]"
	more := [2]string{"requests_per_minute: 60", "requests_per_minute: 100000"} // it is asked until it has changed
	patience := [2]string{"timeout_ms: 30000", "timeout_ms: 180000"}
	write(edits{more, patience})
	output := g.run("--config", file, "--adapter", "llmgateway", "--watch")
	if a := f.ask(chat("auto", "The code word is maple.", false)); a.text() != "The code word is: maple" {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	server := g.server()
	await(t, "watcher", func() bool { return strings.Contains(output.String(), "watching config file for changes") })

	answers := func(provider string) func() bool {
		return func() bool {
			return f.send(http.MethodPost, "/v1/chat/completions", hello("auto", 1), "Cache-Control: no-cache").header.Get("X-LLM-Provider") == provider
		}
	}
	write(edits{more, patience, {order, "priority: [hf, local]"}})
	await(t, "answer from hf", answers("hf"))
	write(edits{more, patience, {order, "priorty: [openrouter]"}})
	await(t, "complaint", func() bool {
		return strings.Contains(output.String(), `there is no field \"priorty\" (did you mean priority?)`)
	})
	if !answers("hf")() {
		t.Error("a wrong file is in force")
	}
	write(edits{more, patience, {order, "priority: [openrouter, local]"}})
	await(t, "answer from openrouter", answers("openrouter"))
	if now := g.server(); now != server {
		t.Errorf("the model was loaded again: %d, before %d", now, server)
	}
	saved, err := os.ReadFile(filepath.Join(g.dir, "caddy", "autosave.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{hfKey, openrouterKey} {
		for where, text := range map[string]string{"log": output.String(), "configuration": get(t, "http://"+g.admin+"/config/"), "autosave.json": string(saved)} {
			if strings.Contains(text, key) {
				t.Errorf("a key is in the %s", where)
			}
		}
	}
}
