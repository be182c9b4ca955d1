package gguf

import (
	"bytes"
	"fmt"
	"testing"
)

// BenchmarkRead reads a header whose tokenizer is as large as those of today's models.
func BenchmarkRead(b *testing.B) {
	words := make([]string, 150_000)
	for i := range words {
		words[i] = fmt.Sprintf("word%d", i)
	}
	var w Writer
	w.Set("general.architecture", "llama")
	w.Set("tokenizer.ggml.tokens", words)
	w.Set("tokenizer.ggml.merges", words)
	var file bytes.Buffer
	if err := w.Write(&file); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(file.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(bytes.NewReader(file.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
}
