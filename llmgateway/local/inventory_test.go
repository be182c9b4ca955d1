package local

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
)

// keys are those of a test's GGUF file.
type keys map[string]any

// textModel returns the keys of a language model.
func textModel(width int, more ...any) keys {
	k := keys{
		"general.architecture": "llama", "llama.context_length": uint32(4096), "llama.embedding_length": uint32(width),
		"tokenizer.chat_template": "{% if tools %}...{% endif %}",
	}
	for i := 0; i+1 < len(more); i += 2 {
		k[more[i].(string)] = more[i+1]
	}
	return k
}

// visionProjector returns the keys of a projector.
func visionProjector(width int, fileType int) keys {
	return keys{
		"general.architecture": "clip", "general.type": "mmproj", "clip.vision.projection_dim": uint32(width),
		"general.file_type": uint32(fileType),
	}
}

// put writes a GGUF file, as if long ago. What is no keys is written as it is.
func put(t *testing.T, path string, content any) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if text, ok := content.(string); ok {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		age(t, path, time.Hour)
		return
	}
	var file gguf.Writer
	for _, key := range slices.Sorted(maps.Keys(content.(keys))) {
		file.Set(key, content.(keys)[key])
	}
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := file.Write(out); err != nil {
		t.Fatal(err)
	}
	age(t, path, time.Hour)
}

// age makes a file look as if it had been written that long ago.
func age(t *testing.T, path string, age time.Duration) {
	t.Helper()
	then := time.Now().Add(-age)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
}

// inventoryOf returns what is in a folder: models with what is after the arrow their files' and projectors' paths, and the
// reasons why others are not offered.
func inventoryOf(t *testing.T, s *scanner) (models []string, skipped map[string]string) {
	t.Helper()
	files, err := s.scan(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	inv := takeInventory(s.dir, files)
	for _, m := range inv.models {
		line := m.name
		if m.projector.path != "" {
			line += " + " + strings.TrimPrefix(m.projector.path, s.dir+"/")
		}
		models = append(models, line)
	}
	skipped = maps.Clone(inv.broken)
	maps.Copy(skipped, inv.others)
	return models, skipped
}

func TestInventoryOfAFolder(t *testing.T) {
	model, second := textModel(2048), textModel(2048, "split.count", uint32(3))
	f16, f32, bf16, q8 := visionProjector(2048, 1), visionProjector(2048, 0), visionProjector(2048, 32), visionProjector(2048, 7)
	const unfit = "no model here is named like this vision projector and has the embedding length that it was made for"
	for _, test := range []struct {
		name    string
		files   map[string]any
		models  []string
		skipped map[string]string
	}{
		{name: "nothing"},
		{
			name:   "names are those of the files",
			files:  map[string]any{"b.gguf": model, "A-Q4_K_M.gguf": model, "sub/c, d.gguf": model},
			models: []string{"A-Q4_K_M", "b", "c_ d"},
		},
		{
			name: "what is no model is nobody's business",
			files: map[string]any{
				".hidden.gguf": model, ".cache/m.gguf": model, "m.gguf.part": model, "m.gguf.aria2": "x", "README.md": "x", "a/b/deep.gguf": model, "M.bin": "x",
			},
		},
		{
			name: "what looks like a model and is none",
			files: map[string]any{
				"text.gguf": "hello", "cut.gguf": "GGUF\x03\x00\x00\x00\x01", "empty.gguf": "", "lora.gguf": textModel(2048, "general.type", "adapter"),
				"mmproj-none.gguf": model, "mmproj-cut.gguf": "GGUF",
			},
			skipped: map[string]string{
				"text": "text.gguf is no usable GGUF file", "cut": "cut.gguf is incomplete; was its download interrupted?",
				"empty": "empty.gguf is no usable GGUF file", "lora.gguf": "it is no model, but: adapter",
				"mmproj-none.gguf": "it is named like a vision projector, but is none",
				"mmproj-cut.gguf":  "mmproj-cut.gguf is incomplete; was its download interrupted?",
			},
		},
		{
			name: "parts are one model",
			files: map[string]any{
				"m-Q8_0-00001-of-00003.gguf": second, "m-Q8_0-00002-of-00003.gguf": keys{}, "m-Q8_0-00003-of-00003.gguf": keys{},
				"one-00001-of-00001.gguf": model,
			},
			models: []string{"m-Q8_0", "one"},
		},
		{
			name: "parts that are missing or make no sense",
			files: map[string]any{
				"a-00001-of-00003.gguf": second, "a-00003-of-00003.gguf": keys{},
				"b-00002-of-00002.gguf": keys{},
				"c-00001-of-00003.gguf": second, "c-00002-of-00003.gguf": keys{},
				"d-00001-of-00003.gguf": second, "d-00002-of-00003.gguf": "GGUF", "d-00003-of-00003.gguf": keys{},
				"e-00000-of-00002.gguf": second, "f-00003-of-00002.gguf": second, "g-00001-of-99999.gguf": second,
				"h-00001-of-00002.gguf": second, "h-00002-of-00002.gguf": keys{}, "renamed.gguf": second,
			},
			skipped: map[string]string{
				"a": "part 2 of 3 is missing", "b": "part 1 of 2 is missing", "c": "part 3 of 3 is missing",
				"d": "d-00002-of-00003.gguf is incomplete; was its download interrupted?",
				"e": "there is no part 0 of 2", "f": "there is no part 3 of 2", "g": "it has more than 1000 parts",
				"h": "it has 3 parts, as its header says, but 2 as its name says", "renamed": "it has 3 parts, as its header says, but 1 as its name says",
			},
		},
		{
			name: "the first of a name has it",
			files: map[string]any{
				"m.gguf": model, "a/m.gguf": model, "n.gguf": "GGUF", "b/n.gguf": model, "m-00001-of-00002.gguf": model,
			},
			models:  []string{"m", "n"},
			skipped: map[string]string{"a/m.gguf": "its name is taken by m.gguf", "n.gguf": "n.gguf is incomplete; was its download interrupted?", "m-00001-of-00002.gguf": "part 2 of 2 is missing"},
		},
		{
			name: "projectors named like their models",
			files: map[string]any{
				"Qwen2.5-VL-7B-Instruct-Q4_K_M.gguf": model, "Qwen2.5-VL-7B-Instruct-UD-Q2_K_XL.gguf": model, "mmproj-Qwen2.5-VL-7B-Instruct-f16.gguf": f16,
				"Pixtral-12B.i1-IQ4_XS.gguf": model, "Pixtral-12B.mmproj-fp16.gguf": f16,
				"llava-v1.5-7b-Q8_0-00001-of-00001.gguf": model, "llava-v1.5-7b-mmproj-bf16.gguf": bf16,
				"qwen2.5-0.5b-instruct-q8_0.gguf": model,
			},
			models: []string{
				"Pixtral-12B.i1-IQ4_XS + Pixtral-12B.mmproj-fp16.gguf",
				"Qwen2.5-VL-7B-Instruct-Q4_K_M + mmproj-Qwen2.5-VL-7B-Instruct-f16.gguf",
				"Qwen2.5-VL-7B-Instruct-UD-Q2_K_XL + mmproj-Qwen2.5-VL-7B-Instruct-f16.gguf",
				"llava-v1.5-7b-Q8_0 + llava-v1.5-7b-mmproj-bf16.gguf",
				"qwen2.5-0.5b-instruct-q8_0",
			},
		},
		{
			name: "the longest common beginning",
			files: map[string]any{
				"gemma-3-4b-it-qat-q4_0.gguf": model, "mmproj-gemma-3-f16.gguf": f16, "mmproj-gemma-3-4b-it-f16.gguf": f16, "gemma-31-q4_0.gguf": model,
			},
			models: []string{"gemma-3-4b-it-qat-q4_0 + mmproj-gemma-3-4b-it-f16.gguf", "gemma-31-q4_0"},
		},
		{
			name:   "f16 before others",
			files:  map[string]any{"m/m-Q4_0.gguf": model, "m/mmproj-BF16.gguf": bf16, "m/mmproj-F16.gguf": f16, "m/mmproj-F32.gguf": f32, "m/mmproj-Q8_0.gguf": q8},
			models: []string{"m-Q4_0 + m/mmproj-F16.gguf"},
		},
		{
			name:   "a projector without a name and one model",
			files:  map[string]any{"m-Q4_0.gguf": model, "m-Q8_0.gguf": model, "mmproj-model-f16.gguf": f16},
			models: []string{"m-Q4_0 + mmproj-model-f16.gguf", "m-Q8_0 + mmproj-model-f16.gguf"},
		},
		{
			name:    "a projector without a name and two models",
			files:   map[string]any{"m-Q4_0.gguf": model, "n-Q8_0.gguf": model, "mmproj-f16.gguf": f16},
			models:  []string{"m-Q4_0", "n-Q8_0"},
			skipped: map[string]string{"mmproj-f16.gguf": unfit},
		},
		{
			name:   "a folder for one model",
			files:  map[string]any{"m/m-Q4_0.gguf": model, "m/mmproj-other-name.gguf": f16, "n.gguf": model},
			models: []string{"m-Q4_0 + m/mmproj-other-name.gguf", "n"},
		},
		{
			name:    "a projector of another name",
			files:   map[string]any{"m-Q4_0.gguf": model, "mmproj-other-f16.gguf": f16},
			models:  []string{"m-Q4_0"},
			skipped: map[string]string{"mmproj-other-f16.gguf": unfit},
		},
		{
			name:    "projectors for another embedding length",
			files:   map[string]any{"m-Q4_0.gguf": model, "mmproj-m-f16.gguf": visionProjector(3584, 1), "n/n.gguf": textModel(4096), "n/mmproj.gguf": f16},
			models:  []string{"m-Q4_0", "n"},
			skipped: map[string]string{"mmproj-m-f16.gguf": unfit, "n/mmproj.gguf": unfit},
		},
		{
			name: "a projector that does not tell its embedding length",
			files: map[string]any{
				"m-Q4_0.gguf": model, "mmproj-m-f16.gguf": keys{"general.architecture": "clip"},
			},
			models: []string{"m-Q4_0 + mmproj-m-f16.gguf"},
		},
		{
			name:    "a projector in another folder",
			files:   map[string]any{"m-Q4_0.gguf": model, "sub/mmproj-m-f16.gguf": f16},
			models:  []string{"m-Q4_0"},
			skipped: map[string]string{"sub/mmproj-m-f16.gguf": unfit},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range test.files {
				put(t, filepath.Join(dir, name), content)
			}
			models, skipped := inventoryOf(t, &scanner{dir: dir, settle: folderSettle})
			if !slices.Equal(models, test.models) {
				t.Errorf("models: got\n%s\nwant\n%s", strings.Join(models, "\n"), strings.Join(test.models, "\n"))
			}
			if !maps.Equal(skipped, test.skipped) {
				t.Errorf("skipped: got %q\nwant %q", skipped, test.skipped)
			}
		})
	}
}

// A projector's tensors tell where it leads to, except for those of the encoder.
func TestProjectorWidthsComeFromItsTensors(t *testing.T) {
	for _, test := range []struct {
		tensor string
		want   bool
	}{
		{"mm.2.bias", true}, {"resampler.proj.weight", true}, {"v.blk.0.ln1.weight", false}, {"a.blk.0.ln1.weight", false},
	} {
		var file gguf.Writer
		file.Set("general.architecture", "clip")
		file.Set("clip.vision.projection_dim", uint32(768)) // of the encoder that LLaVA was made of
		file.Add(test.tensor, gguf.TensorType(0), []uint64{16}, make([]byte, 64))
		path := filepath.Join(t.TempDir(), "mmproj.gguf")
		out, err := os.Create(path)
		if err == nil {
			err = file.Write(out)
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = out.Close()
		if got := readWeights(path); got.err != nil || got.leadsTo(weights{width: 16}) != test.want || !got.leadsTo(weights{width: 768}) {
			t.Errorf("%s: got %v, %v", test.tensor, got.widths, got.err)
		}
	}
}

// FuzzInventory has files of any names. Models have names of their own and projectors from their folders, and of files that
// make no model the reason is told.
func FuzzInventory(f *testing.F) {
	f.Add("m-Q4_K_M.gguf\nmmproj-m-f16.gguf\nsub/m.gguf", uint64(0))
	f.Add("m-00001-of-00002.gguf\nm-00002-of-00002.gguf\n-00001-of-00001.gguf\nmmproj.gguf", uint64(2))
	f.Add("mmproj-q8_0.gguf\nq8_0.gguf\n--.gguf\nmmprojmmproj-f16.gguf\n\xff.gguf", uint64(1))
	f.Fuzz(func(t *testing.T, names string, parts uint64) {
		seen := make(map[string]bool)
		var files []weights
		for name := range strings.SplitSeq(names, "\n") {
			path := filepath.Join("/models", name)
			if !strings.HasPrefix(path, "/models/") || !strings.HasSuffix(path, ".gguf") || seen[path] {
				continue
			}
			seen[path] = true
			w := weights{path: path, kind: kindModel, parts: parts}
			if strings.Contains(name, kindProjector) {
				w.kind = kindProjector
			}
			files = append(files, w)
		}
		slices.SortFunc(files, func(a, b weights) int { return strings.Compare(a.path, b.path) })
		inv := takeInventory("/models", files)
		told := len(inv.others)
		for i, m := range inv.models {
			if i > 0 && m.name <= inv.models[i-1].name {
				t.Errorf("%q and %q", inv.models[i-1].name, m.name)
			}
			if _, ok := inv.broken[m.name]; ok {
				t.Errorf("%q is offered and broken", m.name)
			}
			if m.projector.path != "" && filepath.Dir(m.projector.path) != filepath.Dir(m.file.path) {
				t.Errorf("%q has the projector %q", m.file.path, m.projector.path)
			}
			told++
		}
		if told += len(inv.broken); len(files) > 0 && told == 0 {
			t.Errorf("nothing is said of %q", names)
		}
	})
}
