package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
)

const (
	magic            = "GGUF"
	defaultAlignment = 32
	alignmentKey     = "general.alignment"
)

// Limits far above any real model, so that a broken or hostile file costs little.
const (
	maxKeys         = 1 << 16
	maxTensors      = 1 << 17
	maxNameBytes    = 1 << 16
	maxStringBytes  = 1 << 30
	maxArrayLen     = 1 << 30
	maxAlignment    = 1 << 20
	maxDims         = 4
	maxTensorBytes  = 1 << 50
	keptStringBytes = 1 << 20
	keptArrayLen    = 1 << 10
	keptTotalBytes  = 1 << 26
	elementBytes    = 16 // of a loaded array: an interface
)

// decoder reads a header from front to back. After the first error it reads nothing more and returns zeros, so that the
// error is looked at where it matters and not after every number.
type decoder struct {
	r    *bufio.Reader
	read uint64 // bytes consumed so far
	kept uint64 // bytes of memory taken by names and values
	err  error

	// number holds one that is being read: a tokenizer's header has hundreds of thousands of them.
	number [8]byte
}

func (d *decoder) file() (*File, error) {
	if got := string(d.bytes(len(magic))); got != magic {
		if d.err != nil && !errors.Is(d.err, ErrTruncated) {
			return nil, d.err
		}
		return nil, fmt.Errorf("%w: it begins with %q", ErrNotGGUF, got)
	}
	f := &File{Version: d.uint32(), Alignment: defaultAlignment}
	switch {
	case d.err != nil:
		return nil, d.err
	case f.Version != 0 && f.Version&0xffff == 0:
		return nil, fmt.Errorf("%w of version %d", ErrBigEndian, bits.ReverseBytes32(f.Version))
	case f.Version != 2 && f.Version != 3:
		return nil, fmt.Errorf("%w: %d", ErrVersion, f.Version)
	}

	tensors := d.count("tensors", maxTensors)
	keys := d.count("metadata keys", maxKeys)
	f.Metadata = make(map[string]Value)
	for i := uint64(0); i < keys && d.err == nil; i++ {
		d.pair(f.Metadata)
	}
	if v, ok := f.Metadata[alignmentKey]; ok && d.err == nil {
		f.Alignment = d.alignment(v)
	}
	names := make(map[string]bool)
	for i := uint64(0); i < tensors && d.err == nil; i++ {
		t := d.tensor(f.Alignment)
		if names[t.Name] {
			d.fail("tensor %q is there twice", t.Name)
		}
		names[t.Name] = true
		f.Tensors = append(f.Tensors, t)
	}
	if d.err != nil {
		return nil, d.err
	}
	f.DataOffset = align(d.read, f.Alignment)
	return f, nil
}

func (d *decoder) pair(into map[string]Value) {
	key := d.name()
	if d.err == nil && key == "" {
		d.fail("a metadata key is empty")
	}
	if _, ok := into[key]; ok {
		d.fail("key %q is there twice", key)
	}
	v := d.value(key)
	if d.err == nil {
		into[key] = v
	}
}

func (d *decoder) value(key string) Value {
	v := Value{Type: Type(d.uint32())}
	switch {
	case d.err != nil:
	case v.Type == TypeString:
		v.Len = d.length(key, maxStringBytes)
		v.data = d.text(v.Len)
	case v.Type == TypeArray:
		v.Elem = Type(d.uint32())
		v.Len = d.length(key, maxArrayLen)
		v.data = d.array(key, v.Elem, v.Len)
	case v.Type.size() == 0:
		d.fail("key %q has the unknown type %d", key, uint32(v.Type))
	default:
		v.Len = 1
		v.data = d.scalar(v.Type)
	}
	return v
}

// array loads a short list, and steps over a long one.
func (d *decoder) array(key string, elem Type, n uint64) any {
	size := elem.size()
	if d.err != nil {
		return nil
	}
	if elem != TypeString && size == 0 {
		d.fail("key %q is a list of the unknown type %d", key, uint32(elem))
		return nil
	}
	if n > keptArrayLen || !d.keep(n*elementBytes) {
		if elem != TypeString {
			d.skip(n * size)
			return nil
		}
		for i := uint64(0); i < n && d.err == nil; i++ {
			d.skip(d.length(key, maxStringBytes))
		}
		return nil
	}
	list := make([]any, 0, n)
	for i := uint64(0); i < n && d.err == nil; i++ {
		if elem == TypeString {
			list = append(list, d.text(d.length(key, maxStringBytes)))
		} else {
			list = append(list, d.scalar(elem))
		}
	}
	return list
}

// text returns the next n bytes, or steps over them and returns nil if they are many.
func (d *decoder) text(n uint64) any {
	if n > keptStringBytes || !d.keep(n) {
		d.skip(n)
		return nil
	}
	return string(d.bytes(int(n)))
}

// keep reports whether there is room for n more bytes, and takes it.
func (d *decoder) keep(n uint64) bool {
	if d.kept+n > keptTotalBytes {
		return false
	}
	d.kept += n
	return true
}

// scalar widens every number to one of three Go types; Value turns them into what is asked for.
func (d *decoder) scalar(t Type) any {
	b := d.fixed(int(t.size()))
	if d.err != nil {
		return nil
	}
	le := binary.LittleEndian
	switch t {
	case TypeUint8:
		return uint64(b[0])
	case TypeInt8:
		return int64(int8(b[0]))
	case TypeUint16:
		return uint64(le.Uint16(b))
	case TypeInt16:
		return int64(int16(le.Uint16(b)))
	case TypeUint32:
		return uint64(le.Uint32(b))
	case TypeInt32:
		return int64(int32(le.Uint32(b)))
	case TypeFloat32:
		return float64(math.Float32frombits(le.Uint32(b)))
	case TypeBool:
		return b[0] != 0
	case TypeUint64:
		return le.Uint64(b)
	case TypeInt64:
		return int64(le.Uint64(b))
	default: // TypeFloat64, the only one left with a size
		return math.Float64frombits(le.Uint64(b))
	}
}

func (d *decoder) alignment(v Value) uint64 {
	n, ok := v.Uint()
	if !ok || v.Type != TypeUint32 || n == 0 || n > maxAlignment || n&(n-1) != 0 {
		d.fail("the alignment %v is not a power of two", v)
		return defaultAlignment
	}
	return n
}

func (d *decoder) tensor(alignment uint64) Tensor {
	t := Tensor{Name: d.name()}
	dims := d.uint32()
	if dims > maxDims {
		d.fail("tensor %q has %d dimensions", t.Name, dims)
		return t
	}
	for range dims {
		t.Dims = append(t.Dims, d.uint64())
	}
	t.Type = TensorType(d.uint32())
	t.Offset = d.uint64()
	if d.err != nil {
		return t
	}
	size, err := t.size()
	switch {
	case err != nil:
		d.fail("tensor %q: %v", t.Name, err)
	case t.Offset > maxTensorBytes:
		d.fail("tensor %q begins at %d", t.Name, t.Offset)
	case t.Offset%alignment != 0:
		d.fail("tensor %q begins at %d, which is no multiple of %d", t.Name, t.Offset, alignment)
	}
	t.bytes = size
	return t
}

func (d *decoder) name() string {
	n := d.length("a name", maxNameBytes)
	if !d.keep(n) {
		d.fail("the names of keys and tensors take more than %d bytes", keptTotalBytes)
	}
	return string(d.bytes(int(n)))
}

func (d *decoder) count(what string, limit uint64) uint64 {
	n := d.uint64()
	if n > limit {
		d.fail("%d %s", n, what)
		return 0
	}
	return n
}

func (d *decoder) length(what string, limit uint64) uint64 {
	n := d.uint64()
	if n > limit {
		d.fail("%s has the length %d", what, n)
		return 0
	}
	return n
}

func (d *decoder) uint32() uint32 {
	b := d.fixed(4)
	if d.err != nil {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}

func (d *decoder) uint64() uint64 {
	b := d.fixed(8)
	if d.err != nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

// bytes returns the next n bytes, or as many as there are and sets the error. Callers bound n.
func (d *decoder) bytes(n int) []byte {
	if d.err != nil {
		return nil
	}
	return d.fill(make([]byte, n))
}

// fixed returns the next n bytes, at most 8, until it is called again.
func (d *decoder) fixed(n int) []byte {
	if d.err != nil {
		return nil
	}
	return d.fill(d.number[:n])
}

func (d *decoder) fill(b []byte) []byte {
	got, err := io.ReadFull(d.r, b)
	d.read += uint64(got)
	d.stopped(err)
	return b[:got]
}

func (d *decoder) skip(n uint64) {
	const step = 1 << 30 // Discard takes an int
	for n > 0 && d.err == nil {
		got, err := d.r.Discard(int(min(n, step)))
		d.read += uint64(got)
		n -= uint64(got)
		d.stopped(err)
	}
}

func (d *decoder) stopped(err error) {
	switch {
	case err == nil:
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		d.err = fmt.Errorf("%w: the header ends after %d bytes", ErrTruncated, d.read)
	default:
		d.err = fmt.Errorf("reading the header: %w", err)
	}
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
}

// align rounds n up to a multiple of alignment, a power of two.
func align(n, alignment uint64) uint64 {
	return (n + alignment - 1) &^ (alignment - 1)
}
