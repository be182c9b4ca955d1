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
		file.Info()
	})
}
