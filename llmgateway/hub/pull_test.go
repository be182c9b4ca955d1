package hub

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPullFetchesAllFilesOfAModel(t *testing.T) {
	files := map[string][]byte{
		"Q8_0/big-Q8_0-00001-of-00002.gguf": random(100<<10, 1), "Q8_0/big-Q8_0-00002-of-00002.gguf": random(70<<10, 2),
		"big-Q4_K_M.gguf": random(10, 3), "mmproj-F16.gguf": random(500, 4), "README.md": nil,
	}
	h := newFakeHub(t, files)
	dir := filepath.Join(t.TempDir(), "new", "models")
	r := ref
	r.Want = "q8_0"
	paths, err := h.client(t, "").Pull(t.Context(), Pull{Reference: r, Dir: dir, Projector: true})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"big-Q8_0-00001-of-00002.gguf": "Q8_0/big-Q8_0-00001-of-00002.gguf", "big-Q8_0-00002-of-00002.gguf": "Q8_0/big-Q8_0-00002-of-00002.gguf",
		"mmproj-big-F16.gguf": "mmproj-F16.gguf",
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 || len(paths) != 3 || filepath.Base(paths[0]) != "big-Q8_0-00001-of-00002.gguf" {
		t.Fatalf("got %v, %v, %v", paths, entries, err)
	}
	for _, path := range paths {
		if data, err := os.ReadFile(path); err != nil || !bytes.Equal(data, files[want[filepath.Base(path)]]) {
			t.Errorf("%s: got %d bytes, %v", path, len(data), err)
		}
	}
}

func TestPullNamesFilesThatThereAre(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{"m-Q4_K_M.gguf": nil, "m-Q8_0.gguf": nil})
	r := ref
	r.Want = "m-Q5_K_M.gguf"
	dir := t.TempDir()
	_, err := h.client(t, "").Pull(t.Context(), Pull{Reference: r, Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "there are: m-Q4_K_M.gguf, m-Q8_0.gguf") {
		t.Errorf("got %v", err)
	}
}

func TestProjectorsAreNamedAfterTheirModels(t *testing.T) {
	for _, tt := range []struct{ model, projector, want string }{
		{"gemma-3-4b-it-Q4_K_M.gguf", "mmproj-F16.gguf", "mmproj-gemma-3-4b-it-F16.gguf"},
		{"gemma-3-4b-it-Q4_K_M.gguf", "mmproj-model-f16.gguf", "mmproj-gemma-3-4b-it-f16.gguf"},
		{"q-UD-IQ2_XXS-00001-of-00002.gguf", "mmproj.gguf", "mmproj-q.gguf"},
		{"Qwen2.5-VL-3B-Instruct-Q8_0.gguf", "mmproj-Qwen2.5-VL-3B-Instruct-Q8_0.gguf", "mmproj-Qwen2.5-VL-3B-Instruct-Q8_0.gguf"},
	} {
		if got := projectorName(tt.model, tt.projector); got != tt.want {
			t.Errorf("%s of %s: got %s, want %s", tt.projector, tt.model, got, tt.want)
		}
	}
}
