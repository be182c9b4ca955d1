package local

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// exchange is what one turn of a conversation told.
type exchange struct {
	first          time.Duration // to the first token
	prompt, cached int           // tokens
}

// take asks for the next token of a conversation.
func take(t *testing.T, p *Provider, messages []string) exchange {
	t.Helper()
	var list []string
	for i, text := range messages {
		role := "user"
		if i%2 == 1 {
			role = "assistant"
		}
		list = append(list, fmt.Sprintf(`{"role":%q,"content":%q}`, role, text))
	}
	req := ask(t, llmgateway.Chat, `{"model":"m","stream":true,"max_tokens":4,"temperature":0,"stream_options":{"include_usage":true},"messages":[%s]}`,
		strings.Join(list, ","))
	var got exchange
	began := time.Now()
	for event, err := range p.Generate(t.Context(), req) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Carries && got.first == 0 {
			got.first = time.Since(began)
		}
		var data struct {
			Usage struct {
				Prompt  int `json:"prompt_tokens"`
				Details struct {
					Cached int `json:"cached_tokens"`
				} `json:"prompt_tokens_details"`
			} `json:"usage"`
		}
		_, text, _ := bytes.Cut(event.Data, []byte("{"))
		if json.Unmarshal(append([]byte("{"), text...), &data) == nil && data.Usage.Prompt > 0 {
			got.prompt, got.cached = data.Usage.Prompt, data.Usage.Details.Cached
		}
	}
	if got.prompt == 0 {
		t.Fatal("the answer has no usage")
	}
	return got
}

// conversation returns the messages of the first n turns.
func conversation(n int) []string {
	var messages []string
	for i := range n {
		if i > 0 {
			messages = append(messages, "yes")
		}
		messages = append(messages, strings.Repeat(fmt.Sprintf("part %d of the story ", i), 20))
	}
	return messages
}

// restart ends an engine in order.
func restart(t *testing.T, e *Engine) {
	t.Helper()
	_ = e.Destruct()
	e.Settle(t.Context())
	gone(t, e)
	e.shared = NewShared(func() {}) // for the cleanup
}

func TestRealServerIsWarmAfterARestart(t *testing.T) {
	const turns = 10
	folder := filepath.Join(t.TempDir(), "cache")
	model := starterModel(t)
	var logs lockedBuffer
	open := func(dir string) (*Engine, *Provider) {
		e := realEngine(t, &logs, Config{ModelPath: model, NCtx: 8192, NParallel: 2, CacheDir: dir})
		acquire(t, e).Release()
		return e, &Provider{Engine: e}
	}
	e, p := open(folder)
	for n := 1; n < turns; n++ {
		take(t, p, conversation(n))
	}
	restart(t, e)
	checkPrivate(t, folder)

	e, p = open(folder)
	restored := take(t, p, conversation(turns))
	warm := take(t, p, conversation(turns+1))
	restart(t, e)
	_, p = open("")
	cold := take(t, p, conversation(turns))

	t.Logf("turn %d: warm %v (%d of %d tokens cached), restored %v (%d of %d), cold %v (%d of %d)", turns,
		warm.first, warm.cached, warm.prompt, restored.first, restored.cached, restored.prompt, cold.first, cold.cached, cold.prompt)
	if restored.cached < restored.prompt*8/10 {
		t.Errorf("after a restart %d of %d tokens are cached", restored.cached, restored.prompt)
	}
	if cold.cached != 0 {
		t.Errorf("without a cache %d tokens are cached", cold.cached)
	}
	if t.Failed() {
		t.Log(logs.String())
	}
}

// checkPrivate checks that nobody else can read what was saved, and that something was.
func checkPrivate(t *testing.T, folder string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: others may use it: %v", path, info.Mode())
		}
		if !entry.IsDir() {
			files++
		}
		return nil
	})
	if err != nil || files != 2 {
		t.Errorf("got %d files, %v, want a slot's and the manifest", files, err)
	}
}

// saved returns the files that hold slots.
func saved(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*", "*.slot"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestRealServerServesWhateverItsCacheHolds damages what was saved, also so that the checksum does not tell.
func TestRealServerServesWhateverItsCacheHolds(t *testing.T) {
	model := starterModel(t)
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, data []byte) []byte
		agree  bool // the manifest is made to agree
	}{
		{"truncated", func(_ *testing.T, data []byte) []byte { return data[:len(data)/2] }, false},
		{"overwritten", func(_ *testing.T, data []byte) []byte { clear(data[len(data)/2:]); return data }, false},
		{"empty", func(*testing.T, []byte) []byte { return nil }, false},
		{"truncated before it was saved", func(_ *testing.T, data []byte) []byte { return data[:len(data)/2] }, true},
		{"rubbish was saved", func(_ *testing.T, data []byte) []byte { return bytes.Repeat([]byte("x"), len(data)) }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := t.TempDir()
			config := Config{ModelPath: model, NCtx: 2048, CacheDir: folder}
			e := realEngine(t, nil, config)
			take(t, &Provider{Engine: e}, conversation(1))
			restart(t, e)
			files := saved(t, folder)
			if len(files) != 1 {
				t.Fatalf("got %v, want one file", files)
			}
			data, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(files[0], test.damage(t, data), 0o600); err != nil {
				t.Fatal(err)
			}
			if test.agree {
				agree(t, files[0])
			}
			e = realEngine(t, nil, config)
			if got := take(t, &Provider{Engine: e}, conversation(1)); got.cached != 0 {
				t.Errorf("%d tokens came from a damaged file", got.cached)
			}
		})
	}
}

// agree makes a manifest say that a slot's file is as it was saved.
func agree(t *testing.T, file string) {
	t.Helper()
	folder := &cacheFolder{path: filepath.Dir(file)}
	path := filepath.Join(folder.path, manifestName)
	m, err := readManifest(path)
	if err != nil {
		t.Fatal(err)
	}
	m.Slots[0].Bytes, m.Slots[0].CRC, err = folder.checksum(m.Slots[0].File)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
