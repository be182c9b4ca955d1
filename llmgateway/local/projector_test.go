package local

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf/starter"
)

func TestProjectorBesideAModelIsFound(t *testing.T) {
	const model, small = "m-7b-q4_k_m.gguf", "mmproj-m-7b-f16.gguf"
	tests := []struct {
		name       string
		others     []string // files without content
		projectors []string
		want       string
	}{
		{name: "none"},
		{name: "in front", projectors: []string{small}, want: small},
		{name: "behind", projectors: []string{"m-7b-mmproj.gguf"}, want: "m-7b-mmproj.gguf"},
		{name: "of another model", projectors: []string{"mmproj-n-7b-f16.gguf"}},
		{name: "of nobody, beside one model", projectors: []string{"mmproj-F16.gguf"}, want: "mmproj-F16.gguf"},
		{name: "of nobody, beside one model in two precisions", others: []string{"m-7b-q8_0.gguf"}, projectors: []string{"mmproj-F16.gguf"}, want: "mmproj-F16.gguf"},
		{name: "of nobody, beside two models", others: []string{"n.gguf"}, projectors: []string{"mmproj-F16.gguf"}},
		{name: "named like one only", others: []string{small}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			create(t, filepath.Join(dir, model), starter.Write)
			for _, name := range tt.projectors {
				create(t, filepath.Join(dir, name), starter.WriteProjector)
			}
			for _, name := range tt.others {
				create(t, filepath.Join(dir, name), func(io.Writer) error { return nil })
			}
			got := FindProjector(filepath.Join(dir, model))
			if tt.want != "" {
				tt.want = filepath.Join(dir, tt.want)
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestProjectorOfAnotherWidthIsNotTaken has a model that cannot take what the projector makes, whatever their names say.
func TestProjectorOfAnotherWidthIsNotTaken(t *testing.T) {
	dir := t.TempDir()
	create(t, filepath.Join(dir, "mmproj-m.gguf"), starter.WriteProjector)
	for width, want := range map[uint32]string{999: "", 288: filepath.Join(dir, "mmproj-m.gguf")} {
		var model gguf.Writer
		model.Set("general.architecture", "llama")
		model.Set("llama.embedding_length", width)
		create(t, filepath.Join(dir, "m.gguf"), model.Write)
		if got := FindProjector(filepath.Join(dir, "m.gguf")); got != want {
			t.Errorf("%d: got %q, want %q", width, got, want)
		}
	}
}

func TestFolderOfModelsHasNoProjector(t *testing.T) {
	dir := t.TempDir()
	create(t, filepath.Join(dir, "mmproj.gguf"), starter.WriteProjector)
	for _, path := range []string{dir, dir + "/", filepath.Join(dir, "missing", "m.gguf")} {
		if got := FindProjector(path); got != "" {
			t.Errorf("%s: got %q", path, got)
		}
	}
}

func create(t *testing.T, path string, write func(io.Writer) error) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := write(file); err != nil {
		t.Fatal(err)
	}
}

func TestPipeBesideAModelIsNoProjector(t *testing.T) {
	model := modelFile(t)
	if err := syscall.Mkfifo(filepath.Join(filepath.Dir(model), "mmproj-m.gguf"), 0o600); err != nil {
		t.Skip(err)
	}
	if got := FindProjector(model); got != "" {
		t.Errorf("got %s", got)
	}
}
