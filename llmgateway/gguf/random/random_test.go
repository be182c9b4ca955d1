package random

import (
	"bytes"
	"crypto/sha256"
	"io"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
)

// tiny returns a shape with two blocks and few tokens.
func tiny(s Shape) Shape {
	s.Blocks, s.Vocabulary = 2, 512
	return s
}

func TestShapesAreModels(t *testing.T) {
	for _, shape := range Small() {
		t.Run(shape.Architecture, func(t *testing.T) {
			var file bytes.Buffer
			if err := tiny(shape).Write(&file); err != nil {
				t.Fatal(err)
			}
			size := uint64(file.Len())
			f, err := gguf.Read(&file)
			if err != nil {
				t.Fatal(err)
			}
			if got := (f.SizeBytes() + f.Alignment - 1) / f.Alignment * f.Alignment; got != size {
				t.Errorf("the header asks for %d bytes, and there are %d", got, size)
			}
			info := f.Info()
			if info.Architecture != shape.Architecture || info.BlockCount != 2 || info.VocabSize != 512 || info.EmbeddingLength != uint64(shape.Width) {
				t.Errorf("got %+v", info)
			}
			if tokens := f.Metadata["tokenizer.ggml.tokens"]; tokens.Len != 512 {
				t.Errorf("got %d tokens", tokens.Len)
			}
		})
	}
}

func TestShapesAreTheSameEveryTime(t *testing.T) {
	sum := func() [sha256.Size]byte {
		h := sha256.New()
		if err := tiny(Small()[0]).Write(h); err != nil {
			t.Fatal(err)
		}
		return [sha256.Size]byte(h.Sum(nil))
	}
	if first, second := sum(), sum(); first != second {
		t.Error("two models of one shape differ")
	}
}

func TestRowsDiffer(t *testing.T) {
	const rows, blocks = 2048, 16
	for kind, encoding := range encode {
		from, err := weights(kind, 512)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]bool)
		row := make([]byte, blocks*encoding.bytes)
		for range rows {
			if _, err := io.ReadFull(from, row); err != nil {
				t.Fatal(err)
			}
			seen[string(row)] = true
		}
		if len(seen) != rows {
			t.Errorf("%s: %d of %d rows are there once", kind, len(seen), rows)
		}
	}
}

func TestUnknownShapesAreRefused(t *testing.T) {
	for _, shape := range []Shape{
		{Architecture: "nonsense", Vocabulary: 1000},
		{Architecture: "llama", Vocabulary: 100},
		{Architecture: "llama", Vocabulary: 1000, Type: 99},
	} {
		if err := shape.Write(io.Discard); err == nil {
			t.Errorf("%+v was written", shape)
		}
	}
}
