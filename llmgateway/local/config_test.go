package local

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local/memory"
)

// flagsOf returns the arguments as a map; a flag without a value has an empty one.
func flagsOf(args []string) map[string]string {
	flags := map[string]string{}
	for i, arg := range args {
		if strings.HasPrefix(arg, "--") {
			flags[arg] = ""
			if i+1 < len(args) && !strings.HasPrefix(args[i+1], "--") {
				flags[arg] = args[i+1]
			}
		}
	}
	return flags
}

func TestArgumentsSayWhatMatters(t *testing.T) {
	for _, test := range []struct {
		name   string
		config Config
		ctx    int
		want   map[string]string
		not    []string
	}{
		{
			"defaults",
			Config{ModelPath: "/m/tiny, v2.gguf"},
			4096,
			map[string]string{
				"--alias": "tiny_ v2", "--host": "/run/1.sock", "--parallel": "1", "--ctx-size": "4096", "--cache-ram": "0",
				"--fit": "on", "--offline": "", "--no-context-shift": "",
			},
			[]string{"--n-gpu-layers", "--threads", "--mmproj", "--embeddings", "--load-mode", "--cache-type-k"},
		},
		{
			"everything",
			Config{
				ModelPath: "m.gguf", MMProj: "mm.gguf", NBatch: 256, NThreads: 3, NGPULayers: "all", NParallel: 4, FlashAttn: "on",
				CacheTypeK: "q8_0", CacheTypeV: "f16", CacheRAM: 512, Embeddings: "mean", UseMlock: true,
				Args: JoinArgs([]string{"--seed", "7"}),
			},
			1024,
			map[string]string{
				"--parallel": "4", "--ctx-size": "4096", "--batch-size": "256", "--ubatch-size": "256", "--threads": "3",
				"--fit": "off", "--n-gpu-layers": "all", "--mmproj": "mm.gguf", "--flash-attn": "on", "--cache-type-k": "q8_0",
				"--cache-type-v": "f16", "--cache-ram": "512", "--pooling": "mean", "--load-mode": "mmap+mlock", "--seed": "7",
			},
			nil,
		},
		{"no layers", Config{NGPULayers: "0", NoMmap: true}, 1, map[string]string{"--n-gpu-layers": "0", "--fit": "off", "--load-mode": "none"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := test.config.args("/run/1.sock", test.ctx)
			got := flagsOf(args)
			for flag, want := range test.want {
				if value, ok := got[flag]; !ok || value != want {
					t.Errorf("%s: got %q, want %q in %q", flag, value, want, args)
				}
			}
			for _, flag := range test.not {
				if _, ok := got[flag]; ok {
					t.Errorf("unexpected %s in %q", flag, args)
				}
			}
		})
	}
}

func TestInvalidConfigurations(t *testing.T) {
	for _, test := range []struct {
		config Config
		want   string
	}{
		{Config{}, "a model file is needed"},
		{Config{ModelPath: "m", NCtx: -1}, "n_ctx -1 is negative"},
		{Config{ModelPath: "m", NGPULayers: "-1"}, `n_gpu_layers "-1" is neither a number nor all`},
		{Config{ModelPath: "m", FlashAttn: "yes"}, `flash_attn "yes" is none of on, off and auto`},
		{Config{ModelPath: "m", NGPULayers: "99", FlashAttn: "auto"}, ""},
	} {
		got := ""
		if err := test.config.Validate(); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestEqualConfigurationsHaveEqualKeys(t *testing.T) {
	path := modelFile(t)
	key := Config{Binary: os.Args[0], ModelPath: path}.Key()
	if other := (Config{Binary: os.Args[0], ModelPath: path, NParallel: 1, NGPULayers: "auto"}).Key(); other != key {
		t.Errorf("got %+v, want %+v", other, key)
	}
	if other := (Config{Binary: os.Args[0], ModelPath: path, NCtx: 1}).Key(); other == key {
		t.Error("another context has the same key")
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = file.WriteString("more")
	_ = file.Close()
	if other := (Config{Binary: os.Args[0], ModelPath: path}).Key(); other == key {
		t.Error("another file has the same key")
	}
}

func TestFindServerLooksInTheRightOrder(t *testing.T) {
	root := t.TempDir()
	program := func(path string) string {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	configured, env, onPath := program("configured"), program("env"), program("bin/llama-server")
	program("cache/llmgateway/llama.cpp/v0.9.9/llama-server")
	newest := program("cache/llmgateway/llama.cpp/v0.10.0/llama-server")
	t.Setenv("LLAMA_SERVER", env)
	t.Setenv("PATH", filepath.Dir(onPath))
	t.Setenv("XDG_CACHE_HOME", filepath.Join(root, "cache"))
	find := func(configured, want string) {
		t.Helper()
		got, err := FindServer(configured)
		if err != nil || got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	find(configured, configured)
	find("", env)
	t.Setenv("LLAMA_SERVER", "")
	find("", onPath)
	t.Setenv("PATH", "")
	find("", newest)
	t.Setenv("XDG_CACHE_HOME", root)
	if _, err := FindServer(""); err == nil || !strings.Contains(err.Error(), "make llama-server") {
		t.Errorf("got %v, want advice", err)
	}
	if _, err := FindServer(filepath.Join(root, "none")); err == nil || !strings.Contains(err.Error(), "configured") {
		t.Errorf("got %v, want the configured one's name", err)
	}
}

func TestLogHoldsNoPrompts(t *testing.T) {
	var out bytes.Buffer
	l := &serverLog{logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	write := func(text string) { _, _ = l.Write([]byte(text)) }
	write("0.00.000.740 I srv  llama_server: load")
	write("ing model 'starter'\nhalf a line")
	write("\n")
	l.serving.Store(true)
	for _, line := range []string{
		"0.00.001.000 I slot print_timing: id  0 | task 1 | n_decoded = 4",
		`0.00.001.000 W srv    operator(): got exception: {"error":{"message":"last read: 'SECRET'"}}`,
		"0.00.001.000 W common_chat_peg_parse: unparsed Content-only output: SECRET",
		"SECRET, the next line of that",
		"0.00.001.000 I srv  handle_media: downloading image from 'http://SECRET'",
		"/src/ggml/src/ggml.c:1234: GGML_ASSERT(n > 0) failed",
		strings.Repeat("x", 5000),
	} {
		write(line + "\n")
	}
	if strings.Contains(out.String(), "SECRET") || strings.Contains(strings.Join(l.lines(), ""), "SECRET") {
		t.Errorf("a prompt is in the log: %s", out.String())
	}
	want := []string{
		"srv  llama_server: loading model 'starter'",
		"half a line",
		"slot print_timing: id  0 | task 1 | n_decoded = 4",
		"srv    operator(): got exception:",
		"srv  handle_media: downloading image from",
		"/src/ggml/src/ggml.c:1234: GGML_ASSERT(n > 0) failed",
	}
	if got := l.lines(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if !strings.Contains(out.String(), "level=INFO msg=llama-server line=\"/src/ggml") {
		t.Errorf("a crash is not at level Info: %s", out.String())
	}
	for range 100 {
		write("0.00.001.000 I slot print_timing: again\n")
	}
	if got := len(l.lines()); got != keptLines {
		t.Errorf("got %d lines, want %d", got, keptLines)
	}
}

func TestFurtherFlagsMakeTheModelUnknown(t *testing.T) {
	info := func(args ...string) llmgateway.ModelInfo {
		e := NewEngine(Config{ModelPath: starterModel(t), NCtx: 64, Args: JoinArgs(args)}.Key(), memory.NewBudget(MachineMemory()), slog.New(slog.DiscardHandler))
		defer func() { _ = e.Destruct() }()
		return e.ModelInfo()
	}
	if got, want := info(), (llmgateway.ModelInfo{Name: "starter", Context: 64, Tools: true, Prefill: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	got := info("-mm", "projector.gguf", "--ctx-size", "128", "--embeddings")
	if want := (llmgateway.ModelInfo{Name: "starter", Vision: true, Audio: true, Tools: true, Embeddings: true, Prefill: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestModelWhoseFileIsMissingMayHaveTools(t *testing.T) {
	e := NewEngine(Config{ModelPath: "missing.gguf"}.Key(), memory.NewBudget(MachineMemory()), slog.New(slog.DiscardHandler))
	defer func() { _ = e.Destruct() }()
	if info := e.ModelInfo(); !info.Tools || info.Vision {
		t.Errorf("got %+v", info)
	}
}
