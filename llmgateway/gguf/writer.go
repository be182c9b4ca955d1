package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Writer collects metadata and tensors and writes them as a GGUF file of version 3. What was added first comes first, so
// that equal input gives equal bytes. The zero Writer is empty and ready.
type Writer struct {
	keys    []pair
	tensors []blob
}

type pair struct {
	key   string
	value any
}

type blob struct {
	Tensor
	data []byte
	from io.Reader // instead of data
}

// Set adds a metadata value: uint32, uint64, int32, float32, bool, string, or a slice of one of string, float32, int32.
func (w *Writer) Set(key string, value any) {
	w.keys = append(w.keys, pair{key, value})
}

// Add adds a tensor. data is kept, not copied, and must have the size that the type and the dimensions ask for.
func (w *Writer) Add(name string, t TensorType, dims []uint64, data []byte) {
	w.tensors = append(w.tensors, blob{Tensor: Tensor{Name: name, Type: t, Dims: dims}, data: data})
}

// AddFrom adds a tensor whose data are read while the file is written, for models that do not fit into memory. Of from,
// as much is read as the type and the dimensions ask for.
func (w *Writer) AddFrom(name string, t TensorType, dims []uint64, from io.Reader) {
	w.tensors = append(w.tensors, blob{Tensor: Tensor{Name: name, Type: t, Dims: dims}, from: from})
}

// Write writes the file.
func (w *Writer) Write(out io.Writer) error {
	header, err := w.header()
	if err != nil {
		return err
	}
	buf := bufio.NewWriter(out)
	write(buf, header)
	for _, t := range w.tensors {
		if t.from == nil {
			write(buf, t.data)
		} else if err := t.copy(buf); err != nil {
			return fmt.Errorf("writing tensor %q: %w", t.Name, err)
		}
	}
	if err := buf.Flush(); err != nil {
		return fmt.Errorf("writing model: %w", err)
	}
	return nil
}

// header returns all that comes before the tensors' data, padded.
func (w *Writer) header() ([]byte, error) {
	le := binary.LittleEndian
	b := []byte(magic)
	b = le.AppendUint32(b, 3)
	b = le.AppendUint64(b, uint64(len(w.tensors)))
	b = le.AppendUint64(b, uint64(len(w.keys)))
	for _, kv := range w.keys {
		b = appendString(b, kv.key)
		var err error
		if b, err = appendValue(b, kv.value); err != nil {
			return nil, fmt.Errorf("writing key %q: %w", kv.key, err)
		}
	}
	var offset uint64
	for _, t := range w.tensors {
		size, err := t.size()
		if err == nil && t.from == nil && size != uint64(len(t.data)) {
			err = fmt.Errorf("%d bytes given, %d needed", len(t.data), size)
		}
		if err != nil {
			return nil, fmt.Errorf("writing tensor %q: %w", t.Name, err)
		}
		b = appendString(b, t.Name)
		b = le.AppendUint32(b, uint32(len(t.Dims)))
		for _, dim := range t.Dims {
			b = le.AppendUint64(b, dim)
		}
		b = le.AppendUint32(b, uint32(t.Type))
		b = le.AppendUint64(b, offset)
		offset += align(size, defaultAlignment)
	}
	return pad(b), nil
}

// write leaves errors to the Flush at the end: a bufio.Writer keeps its first one.
func write(buf *bufio.Writer, data []byte) {
	_, _ = buf.Write(data)
	padding := align(uint64(len(data)), defaultAlignment) - uint64(len(data))
	_, _ = buf.Write(make([]byte, padding))
}

// copy writes what comes from a reader.
func (t blob) copy(buf *bufio.Writer) error {
	size, err := t.size()
	if err != nil {
		return err
	}
	if _, err := io.CopyN(buf, t.from, int64(size)); err != nil { // a tensor has below 2^50 bytes
		return err
	}
	_, _ = buf.Write(make([]byte, align(size, defaultAlignment)-size))
	return nil
}

func pad(b []byte) []byte {
	return append(b, make([]byte, align(uint64(len(b)), defaultAlignment)-uint64(len(b)))...)
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}

func appendValue(b []byte, value any) ([]byte, error) {
	le := binary.LittleEndian
	typed := func(t Type) []byte { return le.AppendUint32(b, uint32(t)) }
	list := func(t Type, n int) []byte {
		return le.AppendUint64(le.AppendUint32(typed(TypeArray), uint32(t)), uint64(n))
	}
	switch v := value.(type) {
	case uint32:
		return le.AppendUint32(typed(TypeUint32), v), nil
	case uint64:
		return le.AppendUint64(typed(TypeUint64), v), nil
	case int32:
		return le.AppendUint32(typed(TypeInt32), uint32(v)), nil
	case float32:
		return le.AppendUint32(typed(TypeFloat32), math.Float32bits(v)), nil
	case bool:
		b = typed(TypeBool)
		if v {
			return append(b, 1), nil
		}
		return append(b, 0), nil
	case string:
		return appendString(typed(TypeString), v), nil
	case []string:
		b = list(TypeString, len(v))
		for _, s := range v {
			b = appendString(b, s)
		}
		return b, nil
	case []float32:
		b = list(TypeFloat32, len(v))
		for _, f := range v {
			b = le.AppendUint32(b, math.Float32bits(f))
		}
		return b, nil
	case []int32:
		b = list(TypeInt32, len(v))
		for _, n := range v {
			b = le.AppendUint32(b, uint32(n))
		}
		return b, nil
	default:
		return nil, fmt.Errorf("no GGUF type for %T", value)
	}
}
