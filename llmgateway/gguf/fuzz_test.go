package gguf

import (
	"bytes"
	"errors"
	"os"
	"testing"
)

// FuzzRead feeds damaged headers. Its seeds are a small file with every kind of value, and the header of a real model.
func FuzzRead(f *testing.F) {
	data := sample(f)
	f.Add(data)
	f.Add(data[:len(data)/2])
	model, err := os.ReadFile("../../models/starter.gguf")
	if err != nil {
		f.Fatal(err)
	}
	header, err := Read(bytes.NewReader(model))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(model[:header.DataOffset])
	f.Add([]byte("GGUF\x03\x00\x00\x00"))
	f.Add([]byte("GGUF\x00\x00\x00\x03"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Read(bytes.NewReader(data))
		if err != nil {
			for _, known := range []error{ErrNotGGUF, ErrVersion, ErrBigEndian, ErrTruncated, ErrMalformed} {
				if errors.Is(err, known) {
					return
				}
			}
			t.Fatalf("an error of no known kind: %v", err)
		}
		if len(file.Metadata) > len(data) || len(file.Tensors) > len(data) {
			t.Errorf("%d keys and %d tensors out of %d bytes", len(file.Metadata), len(file.Tensors), len(data))
		}
		if file.SizeBytes() < file.DataOffset || file.TensorBytes() > file.SizeBytes()*uint64(len(file.Tensors)+1) {
			t.Errorf("%d bytes needed, data at %d", file.SizeBytes(), file.DataOffset)
		}
		checkMemory(t, file.Info())
	})
}

// FuzzMemory makes headers of numbers alone, which FuzzRead would hardly find.
func FuzzMemory(f *testing.F) {
	for arch := range windowed {
		f.Add(arch, uint64(30), uint64(2048), uint64(8), uint64(128), uint64(512), uint64(1024))
	}
	for _, arch := range append(append([]string{"llama", "clip", "falcon-h1", "qwen3next", "rwkv7"}, uncached...), stateOnly...) {
		f.Add(arch, uint64(1<<63), uint64(1<<63), uint64(1<<32), uint64(1<<40), uint64(1<<63), uint64(1))
	}
	f.Fuzz(func(t *testing.T, arch string, blocks, width, heads, size, reach, inner uint64) {
		checkMemory(t, Info{
			Architecture: arch, BlockCount: blocks, EmbeddingLength: width, HeadCount: PerBlock{heads}, HeadCountKV: PerBlock{heads, 0},
			KeyLength: size, ValueLength: size, SlidingWindow: reach, VocabSize: inner, WeightBytes: blocks,
			layers: layers{
				headerBytes: width, fileBytes: heads, feedForward: inner, expertsUsed: heads, sharedKV: reach, windows: PerBlock{size},
				interval: heads, convolution: inner, inner: inner, state: size, groups: heads, shortConvolution: reach, headRWKV: heads,
				vision: vision{kind: "youtuvl", image: inner, patch: size, merge: heads, width: width, feedForward: inner}, tied: true, embeddingType: Q8_0, embeddingBytes: width,
			},
		})
	})
}

// checkMemory checks that no header makes an estimate fail, or smaller than what is certain.
func checkMemory(t *testing.T, i Info) {
	t.Helper()
	small := i.Memory(Load{Context: 512})
	for _, l := range []Load{
		{Context: 1 << 20, Slots: 8},
		{Context: 1 << 20, Embeddings: true, NoFlashAttn: true, Batch: 4096, UBatch: 4096},
		{Context: 512, FullWindow: true, CPU: AMX, Checkpoints: 4, Projector: &i},
	} {
		m := i.Memory(l)
		for _, part := range []uint64{i.WeightBytes, m.KV, m.Compute, m.Output, m.Projector, m.Overhead, small.KV, small.Total()} {
			if m.Total() < part {
				t.Errorf("%+v: %+v is less than %d", l, m, part)
			}
		}
	}
	if m := i.Memory(Load{Context: 512, GPULayers: 1 << 20}); m.Total() > small.Total() {
		t.Errorf("%+v on a GPU, and %+v without", m, small)
	}
}
