package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

func TestReloadOfAFolderWhileStreaming(t *testing.T) {
	occupant := unstartable(t)
	for _, test := range []struct {
		name    string
		options string
		more    string // in llm
		site    string // instead
		sites   string // further ones
		times   int
		fails   string
		refs    []int
		kept    bool
	}{
		{name: "same", times: 3, refs: []int{1}, kept: true},
		{name: "settings changed", options: "max_queue 3\nkeep_alive 1h\npreload m", more: "first_token_timeout 1h", times: 1, refs: []int{1}, kept: true},
		{name: "engine changed", options: "n_batch 1000", times: 1, refs: []int{1}},
		{name: "llm removed", site: "respond nothing", times: 1, refs: []int{}},
		{name: "fails in Provision", more: "provider far openai ftp://nowhere", times: 5, fails: "base URL", refs: []int{1}, kept: true},
		{name: "other engine fails in Provision", options: "n_batch 1000\npreload m", more: "provider far openai ftp://nowhere", times: 5, fails: "base URL", refs: []int{1}, kept: true},
		{name: "fails in Start", options: "keep_alive 1ms", sites: occupant, times: 5, fails: "address already in use", refs: []int{1}, kept: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			g.retry = true
			g.place("starter.gguf", "m.gguf")
			g.start(folderSite(t, g, "", ""))
			streams, server, resume := startCounting(t, g, protocols...)
			site := test.site
			if site == "" {
				site = folderSite(t, g, test.options, test.more)
			}
			g.more = test.sites
			for range test.times {
				err := g.reload(site)
				if (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
					t.Fatalf("reload: got %v, want %q", err, test.fails)
				}
			}
			if got := engineRefs(); !slices.Equal(got, test.refs) {
				t.Errorf("references to engines: got %v, want %v", got, test.refs)
			}
			if !alive(server) {
				t.Error("the model server is gone")
			}
			resume()
			streams.check(t)
			if !test.kept {
				await(t, "end of the model server", func() bool { return !alive(server) })
				return
			}
			if !g.answers(t, "m") {
				t.Error("no answer")
			}
			if got := g.server(); got != server {
				t.Errorf("process %d, before %d", got, server)
			}
		})
	}
}

// A single model and a folder that has it run one process.
func TestFolderAndSingleModelShareAProcess(t *testing.T) {
	g := newGateway(t)
	g.retry = true
	g.place("starter.gguf", "m.gguf")
	single := fmt.Sprintf("provider alone llamacpp %s/m.gguf {\nn_ctx 4096\nn_parallel 4\nn_threads 1\n}\nmodel alone {\nto alone\n}", g.models())
	g.start(folderSite(t, g, "", single))
	if !g.answers(t, "m") || !g.answers(t, "alone") || len(g.servers()) != 1 {
		t.Errorf("processes %v", g.servers())
	}
	g.remove("m.gguf")
	await(t, "release", func() bool { return slices.Equal(engineRefs(), []int{1}) })
	if !g.answers(t, "alone") { // its process has the file
		t.Error("no answer")
	}
}

func TestReloadsOfAFolderLeaveNothingBehind(t *testing.T) {
	occupant := unstartable(t)
	g := newGateway(t)
	g.retry = true
	g.place("starter.gguf", "m.gguf")
	same := folderSite(t, g, "", "")
	g.start(same)
	if !g.answers(t, "m") {
		t.Fatal("no answer")
	}
	if err := g.reload(same); err != nil {
		t.Fatal(err)
	}
	server := g.server()
	before := settled(t, g)
	for i := range 20 {
		site, fails := same, false
		g.more = ""
		switch i % 4 {
		case 1:
			site = folderSite(t, g, fmt.Sprintf("keep_alive %dh", i), "")
		case 2:
			site, fails = folderSite(t, g, "n_batch 1000\npreload m", ""), true
			g.more = occupant
		case 3:
			site, fails = folderSite(t, g, "", "provider far openai ftp://nowhere"), true
		}
		if err := g.reload(site); (err != nil) != fails {
			t.Fatal(err)
		}
		name := fmt.Sprintf("sub/other%d.gguf", i%2)
		if i%4 < 2 {
			g.place("starter.gguf", name)
		} else {
			g.remove(name)
		}
	}
	g.more = ""
	if err := g.reload(same); err != nil {
		t.Fatal(err)
	}
	if !g.answers(t, "m") || g.server() != server {
		t.Errorf("process %d, before %d", g.server(), server)
	}
	await(t, "one engine", func() bool { return slices.Equal(engineRefs(), []int{1}) })
	http.DefaultClient.CloseIdleConnections()
	checkBack(t, g, before)
	if err := g.reload("respond nothing"); err != nil {
		t.Fatal(err)
	}
	await(t, "end of everything", func() bool {
		return heldFolders() == 0 && len(engineRefs()) == 0 && len(g.servers()) == 0
	})
}

func TestValidatingAFolderStartsNothing(t *testing.T) {
	g := newGateway(t)
	g.place("starter.gguf", "m.gguf")
	g.start("respond nothing")
	before := settled(t, g)
	var config *caddy.Config
	if err := json.Unmarshal(adapt(t, g.caddyfile(folderSite(t, g, "preload m", ""))), &config); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := caddy.Validate(config); err != nil {
			t.Fatal(err)
		}
	}
	if len(engineRefs()) != 0 || heldFolders() != 0 {
		t.Errorf("references to engines: %v; %d folders", engineRefs(), heldFolders())
	}
	checkBack(t, g, before)
}

func heldFolders() (n int) {
	folders.Range(func(any, any) bool {
		n++
		return true
	})
	return n
}

func TestTerminatedCaddyEndsTheModelsOfAFolder(t *testing.T) {
	g := newGateway(t)
	g.options = "grace_period 20s"
	g.place("starter.gguf", "m.gguf")
	g.spawn(folderSite(t, g, "preload m", ""))
	streams, server, resume := startCounting(t, g, protocols...)
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // it lets go of the folder, and not of what streams
	resume()
	streams.check(t)
	g.wait()
	if code := g.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	await(t, "end of the model server", func() bool { return !alive(server) })
}
