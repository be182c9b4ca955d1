package random

import (
	"bytes"
	"strconv"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
)

// model is a model while it is described. It keeps the first error, for the end.
type model struct {
	Shape
	w   *gguf.Writer
	err error
}

func (m *model) key(name string) string { return m.Architecture + "." + name }

func (m *model) set(name string, n int) { m.w.Set(m.key(name), uint32(n)) }

// matrix adds a matrix of random weights for vectors of in numbers. There may be several of it, one for each expert.
func (m *model) matrix(name string, in, out int, more ...int) {
	m.add(name+".weight", m.Type, in, out, more...)
}

// plain adds a matrix that is small, and therefore not quantised in real models either.
func (m *model) plain(name string, dims ...int) {
	size := 4
	var extents []uint64
	for _, d := range dims {
		size *= d
		extents = append(extents, uint64(d))
	}
	// All its numbers are 1/16.
	m.w.Add(name, gguf.F32, extents, bytes.Repeat([]byte{0, 0, 0x80, 0x3d}, size/4))
}

// norm adds weights that change nothing.
func (m *model) norm(name string, n int) {
	m.w.Add(name+".weight", gguf.F32, []uint64{uint64(n)}, bytes.Repeat([]byte{0, 0, 0x80, 0x3f}, n))
}

// bias adds what is added to a matrix's output.
func (m *model) bias(name string, dims ...int) { m.plain(name+".bias", dims...) }

func (m *model) add(name string, t gguf.TensorType, in, out int, more ...int) {
	from, err := weights(t, uint64(in))
	if err != nil {
		m.err = err
		return
	}
	dims := []uint64{uint64(in), uint64(out)}
	for _, n := range more {
		dims = append(dims, uint64(n))
	}
	m.w.AddFrom(name, t, dims, from)
}

// embedding adds what begins and ends a model. Without an output matrix of its own, the embedding serves as one.
func (m *model) embedding(norm string) {
	t := m.EmbeddingType
	if t == gguf.F32 {
		t = m.Type
	}
	m.add("token_embd.weight", t, m.Width, m.Vocabulary)
	m.norm(norm, m.Width)
}

// output adds an output matrix of its own.
func (m *model) output() {
	t := m.EmbeddingType
	if t == gguf.F32 {
		t = m.Type
	}
	m.add("output.weight", t, m.Width, m.Vocabulary)
}

// eachBlock calls f with the beginning of the names of a block's tensors.
func (m *model) eachBlock(f func(prefix string, block int)) {
	for i := range m.Blocks {
		f("blk."+strconv.Itoa(i)+".", i)
	}
}
