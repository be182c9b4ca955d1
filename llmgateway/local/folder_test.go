package local

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestFolderOffersModelsByName(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"Qwen-Q8_0", "b", "B", "split-00001-of-00001"} {
		put(t, filepath.Join(dir, name+".gguf"), textModel(1))
	}
	put(t, filepath.Join(dir, "vl", "vl.gguf"), textModel(1))
	put(t, filepath.Join(dir, "vl", "mmproj.gguf"), visionProjector(1, 1))
	put(t, filepath.Join(dir, "half-00001-of-00002.gguf"), textModel(1))
	p, _ := folder(t, dir, nil)
	offers(t, p, "B", "Qwen-Q8_0", "b", "split", "vl")
	for asked, want := range map[string]string{
		"Qwen-Q8_0": "Qwen-Q8_0", "qwen-q8_0": "Qwen-Q8_0", "b": "b", "B": "B", "SPLIT": "split", "Vl": "vl",
	} {
		model := p.Lookup(asked)
		if model == nil {
			t.Errorf("%s is not found", asked)
			continue
		}
		if got := model.(llmgateway.Modeler).ModelInfo(); got.Name != want || got.Context != 4096 || got.Vision != (want == "vl") {
			t.Errorf("%s: got %+v", asked, got)
		}
	}
	for _, asked := range []string{"", "qwen", "Qwen-Q8_0.gguf", "vl/vl", "mmproj", "../b"} {
		if got := p.Lookup(asked); got != nil {
			t.Errorf("%q: found %v", asked, got)
		}
	}
	if said, err := askModel(t, p, "qwen-q8_0", ""); err != nil || !strings.Contains(said, `"content":"Qwen-Q8_0"`) {
		t.Errorf("got %q, %v", said, err)
	}
	_, err := askModel(t, p, "gemma", "")
	if e := llmgateway.AsError(err); e.Kind != llmgateway.NoModel {
		t.Errorf("an unknown model: got %v", err)
	}
	for _, half := range []string{"half", "HALF"} {
		_, err = askModel(t, p, half, "")
		wantOverloaded(t, err, "part 2 of 2 is missing")
	}

	want := map[string]llmgateway.Status{
		"B": {State: llmgateway.StateIdle}, "b": {State: llmgateway.StateIdle}, "Qwen-Q8_0": {State: llmgateway.StateReady},
		"split": {State: llmgateway.StateIdle}, "vl": {State: llmgateway.StateIdle},
		"half": {State: llmgateway.StateFailed, Detail: "part 2 of 2 is missing"},
	}
	if got := p.States(); !maps.Equal(got, want) {
		t.Errorf("states: got %v", got)
	}
	if got, want := p.Status(), (llmgateway.Status{State: llmgateway.StateReady, Detail: "1 more cannot be used"}); got != want {
		t.Errorf("status: got %v", got)
	}
}

func TestFolderFollowsItsFiles(t *testing.T) {
	dir := t.TempDir()
	p, engines := folder(t, dir, nil)
	if got := p.Status(); got.State != llmgateway.StateFailed || got.Detail != "no usable model is in the folder" {
		t.Errorf("empty: got %v", got)
	}
	p.Folder.Start()
	path := filepath.Join(dir, "m.gguf")
	put(t, path, textModel(1))
	offers(t, p, "m")

	// Replaced under a running generation, which goes on while the next ones are answered by another process.
	first := engines.all[0]
	next := stream(t, p, "m")
	put(t, filepath.Join(dir, "new"), textModel(2))
	if err := os.Rename(filepath.Join(dir, "new"), path); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another engine", func() bool { return len(engines.held()) == 1 && engines.count() == 2 })
	second := engines.all[1]
	if said, err := askModel(t, p, "m", ""); err != nil || pid(second) == 0 || pid(first) == 0 {
		t.Errorf("after the replacement: %q, %v, processes %d and %d", said, err, pid(first), pid(second))
	}
	next()
	gone(t, first)

	// Gone under a running generation.
	next = stream(t, p, "m")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	offers(t, p)
	eventually(t, "release", func() bool { return engines.held() == nil })
	if p.Lookup("m") != nil || pid(second) == 0 {
		t.Errorf("found %v, process %d", p.Lookup("m"), pid(second))
	}
	next()
	gone(t, second)
}

func TestFolderThatVanishesComesBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "models")
	p, engines := folder(t, dir, nil)
	p.Folder.Start()
	p.Folder.Start()
	if got := p.Status(); got.Detail != "the folder is missing" || got.State != llmgateway.StateFailed {
		t.Errorf("got %v", got)
	}
	for range 3 {
		put(t, filepath.Join(dir, "sub", "m.gguf"), textModel(1))
		offers(t, p, "m")
		if _, err := askModel(t, p, "m", ""); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		offers(t, p)
		eventually(t, "release", func() bool { return engines.held() == nil })
		eventually(t, "what is missing", func() bool { return p.Status().Detail == "the folder is missing" })
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what is wrong", func() bool { return p.Status().Detail == "the path leads to no folder" })
}

func TestFolderPreloadsWhatAppears(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.gguf"), textModel(1))
	put(t, filepath.Join(dir, "b.gguf"), textModel(1))
	p, _ := folder(t, dir, func(c *FolderConfig) { c.Preload = JoinArgs([]string{"a", "late"}) })
	if state := p.States()["a"].State; state != llmgateway.StateIdle {
		t.Errorf("before the start: %v", state)
	}
	p.Folder.Start()
	ready := func(name string) func() bool {
		return func() bool { return p.States()[name].State == llmgateway.StateReady }
	}
	eventually(t, "a", ready("a"))
	put(t, filepath.Join(dir, "late.gguf"), textModel(1))
	eventually(t, "late", ready("late"))
	if state := p.States()["b"].State; state != llmgateway.StateIdle {
		t.Errorf("b: %v", state)
	}
}

func TestFolderUnloadsIdleModels(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "m.gguf"), textModel(1))
	p, _ := folder(t, dir, func(c *FolderConfig) { c.KeepAlive = 10 * time.Millisecond })
	p.Folder.Start()
	if _, err := askModel(t, p, "m", ""); err != nil {
		t.Error(err)
	}
	eventually(t, "unloading", func() bool { return p.States()["m"].State == llmgateway.StateIdle })
}

// Requests of a configuration that went may come later than the last holder of its folder has gone.
func TestFolderAnswersAfterItsEnd(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "m.gguf"), textModel(1))
	p, engines := folder(t, dir, nil)
	p.Folder.Start()
	if err := p.Folder.Destruct(); err != nil {
		t.Fatal(err)
	}
	if err := p.Folder.Destruct(); err != nil {
		t.Fatal(err)
	}
	p.Folder.Start()
	for range 2 {
		if said, err := askModel(t, p, "m", ""); err != nil || !strings.Contains(said, `"content":"m"`) {
			t.Errorf("got %q, %v", said, err)
		}
		if held := engines.held(); held != nil {
			t.Errorf("still held: %q", held)
		}
	}
}

// A folder and a configuration of one of its files run the same process.
func TestFolderSharesEnginesWithSingleModels(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "m-00001-of-00002.gguf"), textModel(1, "split.count", uint32(2)))
	put(t, filepath.Join(dir, "m-00002-of-00002.gguf"), keys{})
	p, engines := folder(t, dir+"/", nil)
	for _, change := range []func(){func() {}, func() { age(t, filepath.Join(dir, "m-00002-of-00002.gguf"), time.Minute) }} {
		before := engines.all[len(engines.all)-1].Key()
		change()
		p.Folder.looking.Lock()
		p.Folder.look()
		p.Folder.looking.Unlock()
		now := engines.all[len(engines.all)-1].Key()
		config := now.Config
		config.ModelPath = filepath.Join(dir, "m-00001-of-00002.gguf")
		if config.Key() != now {
			t.Errorf("got %+v, want %+v", now, config.Key())
		}
		t.Logf("same as before: %v", before == now)
	}
	if engines.count() != 2 {
		t.Error("a part was replaced, and the engine is the same")
	}
}

// Files come, go and change while requests come. No request may fail for another reason than that its model is away.
func TestFolderUnderChange(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "still.gguf"), textModel(1))
	p, _ := folder(t, dir, nil)
	p.Folder.Start()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		path := filepath.Join(dir, "m.gguf")
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if i%3 == 2 {
				_ = os.Remove(path)
				continue
			}
			put(t, path+".new", textModel(i+1))
			_ = os.Rename(path+".new", path)
		}
	})
	for _, model := range []string{"still", "m", "m"} {
		wg.Go(func() {
			answers := 0
			for began := time.Now(); time.Since(began) < time.Second; {
				switch _, err := askModel(t, p, model, ""); {
				case err == nil:
					answers++
				case model == "still" || llmgateway.AsError(err).Kind != llmgateway.NoModel && !strings.Contains(err.Error(), "m.gguf is missing"):
					t.Errorf("%s: %v", model, err)
				}
				p.Status()
				p.States()
			}
			if answers == 0 {
				t.Errorf("%s: no answers", model)
			}
			t.Logf("%s: %d answers", model, answers)
		})
	}
	time.Sleep(time.Second)
	close(stop)
	wg.Wait()
}

func TestFolderRefusesAProjectorForAll(t *testing.T) {
	config := FolderConfig{Config: Config{ModelPath: "models/", MMProj: "mmproj.gguf"}}
	if err := config.Validate(); err == nil {
		t.Error("accepted")
	}
	dir := t.TempDir()
	put(t, filepath.Join(dir, "m.gguf"), textModel(1))
	for path, want := range map[string]bool{dir: true, dir + "/none/": true, dir + "/none": false, dir + "/m.gguf": false, "": false} {
		if got := IsFolder(path); got != want {
			t.Errorf("%q: got %v", path, got)
		}
	}
}
