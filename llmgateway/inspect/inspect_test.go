package inspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
)

const starter = "../../models/starter.gguf"

// write makes a file of a few tensors in dir.
func write(t testing.TB, dir, name string, set map[string]any) string {
	t.Helper()
	w := new(gguf.Writer)
	for key, value := range set {
		w.Set(key, value)
	}
	w.Add("one.weight", gguf.F32, []uint64{4, 2}, gguf.Single(make([]float32, 8)))
	w.Add("two.weight", gguf.F16, []uint64{4}, make([]byte, 8))
	var b bytes.Buffer
	if err := w.Write(&b); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func model(more ...any) map[string]any {
	set := map[string]any{
		"general.architecture": "llama", "llama.context_length": uint32(8192), "llama.block_count": uint32(2),
		"llama.embedding_length": uint32(64), "llama.attention.head_count": uint32(4), "tokenizer.chat_template": "{{ tools }}",
	}
	for i := 0; i < len(more); i += 2 {
		set[more[i].(string)] = more[i+1]
	}
	return set
}

var projector = map[string]any{"general.architecture": "clip", "general.type": "mmproj", "clip.vision.projection_dim": uint32(64)}

func TestInspectShowsTheStarterModel(t *testing.T) {
	m, err := Open(starter)
	if err != nil {
		t.Fatal(err)
	}
	m.Estimate(gguf.Load{Context: 4096, Slots: 2})
	if m.Name != "starter" || m.Kind != "model" || m.Problem != "" || m.Parameters == 0 || !m.Tools || m.Vision || m.Files != 1 {
		t.Errorf("got %+v", m)
	}
	if e := m.Memory; e == nil || e.NCtx != 4096 || e.NParallel != 2 || e.Total < e.Weights+e.KV || e.KV == 0 {
		t.Errorf("got memory %+v", e)
	}
	var text strings.Builder
	if err := m.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"architecture", "yes, knows tools", "n_ctx 4096 and n_parallel 2", "KV cache", "tensors"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, &text)
		}
	}
}

func TestEstimateAsksForNoMoreThanTheModelWasTrainedFor(t *testing.T) {
	m, err := Open(write(t, t.TempDir(), "m.gguf", model()))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ ask, want int }{{0, 8192}, {100000, 8192}, {512, 512}} {
		if m.Estimate(gguf.Load{Context: tt.ask, Slots: 0}); m.Memory.NCtx != tt.want || m.Memory.NParallel != 1 {
			t.Errorf("n_ctx %d: got %+v, want %d", tt.ask, m.Memory, tt.want)
		}
	}
}

func TestInspectSaysWhatIsWrongWithAFile(t *testing.T) {
	dir := t.TempDir()
	whole, err := os.ReadFile(write(t, dir, "whole.gguf", model()))
	if err != nil {
		t.Fatal(err)
	}
	big := bytes.Clone(whole)
	copy(big[4:8], []byte{0, 0, 0, 3})
	huge := bytes.Clone(whole)
	copy(huge[8:16], "\xff\xff\xff\xff\xff\xff\xff\x7f")
	tests := []struct {
		name, want string
		data       []byte
	}{
		{"half", "incomplete", whole[:len(whole)-30]},
		{"header", "incomplete", whole[:40]},
		{"page", "not a GGUF file", []byte("<!DOCTYPE html>")},
		{"empty", "not a GGUF file", nil},
		{"big", "not supported", big},
		{"huge", "damaged", huge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, tt.name+".gguf")
			if err := os.WriteFile(path, tt.data, 0o600); err != nil {
				t.Fatal(err)
			}
			m, err := Open(path)
			if err == nil || !strings.Contains(m.Problem, tt.want) || m.SizeBytes != int64(len(tt.data)) {
				t.Errorf("got %+v, %v, want %s", m, err, tt.want)
			}
			m.Estimate(gguf.Load{Context: 0, Slots: 0})
			if m.Memory != nil {
				t.Error("there is an estimate")
			}
		})
	}
	if m, err := Open(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) || m.Problem != "missing" {
		t.Errorf("got %+v, %v", m, err)
	}
	pipe := filepath.Join(dir, "pipe.gguf")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, dir, "/dev/zero"} {
		if m, err := Open(path); err == nil || !strings.Contains(m.Problem, "not a file") {
			t.Errorf("%s: got %+v, %v", path, m, err)
		}
	}
}

func TestTextsOfAFileReachNoTerminal(t *testing.T) {
	m, err := Open(write(t, t.TempDir(), "m\x1b[2J.gguf", model("general.name", "\x1b]0;owned\x07",
		"tokenizer.ggml.model", "a\nproblem  none\x9b", "tokenizer.ggml.pre", "\u202e", "general.type", "\x1bc")))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := m.Write(&text); err != nil {
		t.Fatal(err)
	}
	if err := List(&text, []Entry{{Model: m, Provider: "\x1b[1m", State: "\x1b[1m"}}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(text.String(), "\x1b\a\u009b\u202e") || strings.Contains(text.String(), "\nproblem") {
		t.Errorf("got %q", text.String())
	}
	if !strings.Contains(text.String(), `\x1b]0;owned\x07`) {
		t.Errorf("the title is missing in %q", text.String())
	}
}

func TestSplitModelIsOneModel(t *testing.T) {
	dir := t.TempDir()
	for n := range 3 {
		set := map[string]any{"split.count": uint32(3), "split.no": uint32(n)}
		if n == 0 {
			set = model("split.count", uint32(3), "split.no", uint32(0))
		}
		write(t, dir, fmt.Sprintf("big-Q8_0-%05d-of-00003.gguf", n+1), set)
	}
	models, err := Find(dir)
	if err != nil || len(models) != 1 {
		t.Fatalf("got %v, %v", models, err)
	}
	m := models[0]
	if m.Name != "big-Q8_0" || m.Files != 3 || m.Parameters != 36 || m.Problem != "" || m.Tensors[0].Count != 3 {
		t.Errorf("got %+v", m)
	}
	m.Estimate(gguf.Load{Context: 1, Slots: 1})
	if m.Memory.Weights != 3*40 {
		t.Errorf("got weights of %d bytes, want those of all parts", m.Memory.Weights)
	}
	later, err := Open(filepath.Join(dir, "big-Q8_0-00002-of-00003.gguf"))
	if err == nil || !strings.Contains(later.Problem, "2 of 3; name the first") {
		t.Errorf("got %+v, %v", later, err)
	}
	if err := os.Remove(filepath.Join(dir, "big-Q8_0-00003-of-00003.gguf")); err != nil {
		t.Fatal(err)
	}
	if m, err := Open(m.Path); err == nil || m.Problem != "missing" {
		t.Errorf("got %+v, %v", m, err)
	}
}

func TestProjectorsGoWithTheirModels(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "Qwen2.5-VL-3B-Instruct-Q4_K_M.gguf", model())
	write(t, dir, "gemma-3-4b-it-Q4_K_M.gguf", model())
	write(t, dir, "text-only.gguf", model())
	write(t, dir, "mmproj-Qwen2.5-VL-3B-Instruct-f16.gguf", projector)
	write(t, dir, "gemma-3-4b-it.mmproj-Q8_0.gguf", projector)
	write(t, dir, "mmproj-F16.gguf", projector)
	write(t, dir, "notes.txt", nil)
	models, err := Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range models {
		got = append(got, fmt.Sprintf("%s %s %t %s %t", m.Name, m.Kind, m.Vision, filepath.Base(m.Projector), m.Problem == ""))
	}
	want := []string{
		"Qwen2.5-VL-3B-Instruct-Q4_K_M model true mmproj-Qwen2.5-VL-3B-Instruct-f16.gguf true",
		"gemma-3-4b-it-Q4_K_M model true gemma-3-4b-it.mmproj-Q8_0.gguf true",
		"text-only model false . true",
		"mmproj-F16 projector false . false",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	alone := t.TempDir()
	write(t, alone, "model.gguf", model())
	write(t, alone, "mmproj-F16.gguf", projector)
	if err := os.WriteFile(filepath.Join(alone, "half.gguf"), []byte("GGUF"), 0o600); err != nil {
		t.Fatal(err)
	}
	models, err = Find(alone)
	if err != nil || len(models) != 2 || !models[0].Vision || !strings.Contains(models[1].Problem, "incomplete") {
		t.Errorf("got %v, %v; the only projector belongs to the only model", models, err)
	}
}

func TestListLeavesOutEmptyColumns(t *testing.T) {
	m, err := Open(starter)
	if err != nil {
		t.Fatal(err)
	}
	bad, _ := Open("/dev/null")
	var text strings.Builder
	if err := List(&text, []Entry{{Model: m}, {Model: bad}}); err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(text.String(), "\n")
	if strings.Contains(head, "STATE") || strings.Contains(head, "PROVIDER") || !strings.Contains(head, "PROBLEM") {
		t.Errorf("got\n%s", &text)
	}
	data, err := json.Marshal(Entry{Model: m, State: "ready"})
	if err != nil || !bytes.Contains(data, []byte(`"state":"ready"`)) || !bytes.Contains(data, []byte(`"name":"starter"`)) {
		t.Errorf("got %s, %v", data, err)
	}
}

func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	data, err := os.ReadFile(write(f, dir, "m.gguf", model("general.name", "\x1b[1m")))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:50])
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "m.gguf")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Open(path)
		if (err == nil) != (m.Problem == "") {
			t.Errorf("problem %q with error %v", m.Problem, err)
		}
		m.Estimate(gguf.Load{Context: 4096, Slots: 1})
		var text strings.Builder
		if err := m.Write(&text); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(text.String(), "\x1b\x00\a\u009b\r") {
			t.Errorf("got %q", text.String())
		}
	})
}
