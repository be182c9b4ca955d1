// Package gguf reads the header of GGUF files, the format of llama.cpp's models, and writes small ones.
//
// Reading takes only what comes before the weights: the metadata, without long lists such as a tokenizer's words, and
// what each tensor is and where it lies. That is enough to know a model's name, context length and memory needs, and
// whether its file is complete. Nothing in a file is trusted: what would need absurd room is refused before it is taken.
//
// The format is described at https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
package gguf

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
)

// Errors that tell what is wrong with a file. They come wrapped with where it was found.
var (
	// ErrNotGGUF means that the file is something else altogether.
	ErrNotGGUF = errors.New("not a GGUF file")
	// ErrVersion means that the file is of a version of GGUF that is not read here.
	ErrVersion = errors.New("unsupported GGUF version")
	// ErrBigEndian means that the file was written for a big-endian machine, which llama.cpp refuses on all others.
	ErrBigEndian = errors.New("big-endian GGUF file")
	// ErrTruncated means that the file ends too early: a download that broke off, most likely.
	ErrTruncated = errors.New("truncated GGUF file")
	// ErrMalformed means that the file contradicts itself or asks for absurd amounts of something.
	ErrMalformed = errors.New("malformed GGUF file")
)

// File is the header of a GGUF file.
type File struct {
	// Version is the version of the format, 2 or 3.
	Version uint32

	// Metadata holds all keys. Long values are present but not loaded, see Value.
	Metadata map[string]Value

	// Tensors are the weights, in the order of the file.
	Tensors []Tensor

	// Alignment is what tensor offsets are multiples of.
	Alignment uint64

	// DataOffset is where the tensors begin in the file.
	DataOffset uint64
}

// Open reads the header of the file at path and checks that the file is long enough for its tensors.
func Open(path string) (*File, error) {
	// Opening a pipe waits for somebody to write to it.
	if stat, err := os.Stat(path); err == nil && !stat.Mode().IsRegular() {
		return nil, fmt.Errorf("opening model %s: %w: it is no regular file", path, ErrNotGGUF)
	}
	src, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening model: %w", err)
	}
	defer src.Close()

	f, err := Read(src)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	stat, err := src.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if have, want := uint64(max(stat.Size(), 0)), f.SizeBytes(); have < want {
		return nil, fmt.Errorf("reading %s: %w: %d of %d bytes are there", path, ErrTruncated, have, want)
	}
	return f, nil
}

// Read reads a header from r. It reads ahead a little, but never further than that into the tensors' data.
func Read(r io.Reader) (*File, error) {
	d := decoder{r: bufio.NewReaderSize(r, 64<<10)}
	f, err := d.file()
	if err != nil {
		return nil, err
	}
	return f, nil
}

// SizeBytes returns how long the file must be to hold all its tensors.
func (f *File) SizeBytes() uint64 {
	end := f.DataOffset
	for _, t := range f.Tensors {
		// The sum was checked when the tensor was read.
		end = max(end, f.DataOffset+t.Offset+t.SizeBytes())
	}
	return end
}

// TensorBytes returns how much memory the tensors take together. They may claim the same part of a file: if it is more than
// the largest number, it is that.
func (f *File) TensorBytes() uint64 {
	var n uint64
	for _, t := range f.Tensors {
		n = sum(n, t.SizeBytes())
	}
	return n
}
