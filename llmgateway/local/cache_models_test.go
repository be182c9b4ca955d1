package local

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf/random"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf/starter"
)

// TestRealServerIsWarmWithEveryKindOfModel restores what models remember in other ways than by attention to every token:
// only the last tokens, or a state that cannot be cut.
func TestRealServerIsWarmWithEveryKindOfModel(t *testing.T) {
	// How much of the same beginning is known again. Those without can only go on where the saved prompt ends.
	known := map[string]int{"llama": 100, "gpt-oss": 0, "falcon-h1": 0, "mamba": 0}
	for _, shape := range random.Small() {
		want, ok := known[shape.Architecture]
		if !ok {
			continue
		}
		t.Run(shape.Architecture, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "random.gguf")
			file, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if err := shape.Write(file); err != nil {
				t.Fatal(err)
			}
			config := Config{ModelPath: path, NCtx: 2048, CacheDir: t.TempDir()}
			e := realEngine(t, nil, config)
			take(t, &Provider{Engine: e}, conversation(1))
			restart(t, e)
			if len(saved(t, config.CacheDir)) != 1 {
				t.Error("nothing was saved")
			}
			e = realEngine(t, nil, config)
			got := take(t, &Provider{Engine: e}, conversation(2))
			if got.cached < want {
				t.Errorf("%d of %d tokens are cached, want %d", got.cached, got.prompt, want)
			}
			if failure := e.LastFailure(); failure != nil {
				t.Errorf("%+v", failure)
			}
		})
	}
}

// TestRealServerRemembersImagesOverARestart restores a prompt that holds an image.
func TestRealServerRemembersImagesOverARestart(t *testing.T) {
	projector := filepath.Join(t.TempDir(), "mmproj.gguf")
	file, err := os.Create(projector)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := starter.WriteProjector(file); err != nil {
		t.Fatal(err)
	}
	config := Config{ModelPath: starterModel(t), MMProj: projector, NCtx: 2048, CacheDir: t.TempDir()}
	picture := image.NewRGBA(image.Rect(0, 0, 64, 64))
	draw.Draw(picture, picture.Bounds(), image.NewUniform(color.RGBA{R: 255, A: 255}), image.Point{}, draw.Src)
	var encoded bytes.Buffer
	if err := png.Encode(&encoded, picture); err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"model":"m","max_tokens":8,"temperature":0,"messages":[{"role":"user","content":[{"type":"text","text":"What colour is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,%s"}}]}]}`,
		base64.StdEncoding.EncodeToString(encoded.Bytes()))
	say := func(e *Engine) string {
		t.Helper()
		said, err := generate(t.Context(), &Provider{Engine: e}, ask(t, llmgateway.Chat, "%s", body))
		if err != nil {
			t.Fatal(err)
		}
		return said
	}
	e := realEngine(t, nil, config)
	first := say(e)
	restart(t, e)
	if len(saved(t, config.CacheDir)) != 1 {
		t.Error("nothing was saved")
	}
	e = realEngine(t, nil, config)
	second := say(e)
	t.Logf("first: %s\nafter a restart: %s", first, second)
	if failure := e.LastFailure(); failure != nil {
		t.Errorf("%+v", failure)
	}
}
