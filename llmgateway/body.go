package llmgateway

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
)

// Body is the body of a request in memory. Requests carry megabytes of screenshots, so bodies come from a pool and are
// counted: an HTTP transport may still be sending one after the attempt that used it was given up.
type Body struct {
	// Bytes is the content. Nobody writes to it.
	Bytes []byte
	// Long tells where long strings of the content are, in order, if it is JSON that somebody has read, so that nobody has to
	// read megabytes again to find out where they end. Nobody writes to it after that.
	Long []Span

	refs   atomic.Int32
	pooled bool
}

// NewBody returns a Body over b, which stays the caller's.
func NewBody(b []byte) *Body {
	body := &Body{Bytes: b}
	body.refs.Store(1)
	return body
}

// BuildBody returns a Body of what build appends to the empty slice that it is given, which has room for size bytes. A body
// that fits comes from the pool.
func BuildBody(size int, build func([]byte) []byte) *Body {
	room := grab(size)
	b := &Body{Bytes: build(room)}
	b.refs.Store(1)
	if b.pooled = cap(b.Bytes) == cap(room); !b.pooled {
		recycle(room)
	}
	return b
}

// Span is a part of a Body: the bytes from Start up to End.
type Span struct{ Start, End int }

// EndOfLong returns where the string ends whose opening quote is at an offset, if it is one of the long ones.
func (b *Body) EndOfLong(start int) (end int, ok bool) {
	i, ok := slices.BinarySearchFunc(b.Long, start, func(s Span, start int) int { return cmp.Compare(s.Start, start) })
	if !ok {
		return 0, false
	}
	return b.Long[i].End, true
}

// Retain keeps the bytes valid until a matching Release.
func (b *Body) Retain() { b.refs.Add(1) }

// Release gives up one reference. With the last one the bytes go back to the pool if they came from it.
func (b *Body) Release() {
	if b.refs.Add(-1) != 0 {
		return
	}
	if b.pooled {
		recycle(b.Bytes)
	}
	b.Bytes = nil
}

const (
	minClassBits = 12 // 4 KiB
	maxClassBits = 25 // 32 MiB; larger buffers are left to the garbage collector
	maxUpfront   = 1 << 20
)

// pools holds buffers by powers of two.
var pools [maxClassBits - minClassBits + 1]sync.Pool

// classOf returns the pool whose buffers hold size bytes, or -1 if none does.
func classOf(size int) int {
	class := max(bits.Len(uint(max(size, 1)-1))-minClassBits, 0)
	if class >= len(pools) {
		return -1
	}
	return class
}

func grab(size int) []byte {
	class := classOf(size)
	if class < 0 {
		return make([]byte, 0, size)
	}
	if buf, ok := pools[class].Get().(*[]byte); ok {
		return *buf
	}
	return make([]byte, 0, 1<<(class+minClassBits))
}

// recycle takes a buffer that grab made.
func recycle(buf []byte) {
	if class := classOf(cap(buf)); class >= 0 {
		buf = buf[:0]
		pools[class].Put(&buf)
	}
}

// ErrBodyTooLarge means that a body had more bytes than the limit given to [ReadBody].
var ErrBodyTooLarge = errors.New("body too large")

// ReadBody reads r to its end, which also lets net/http notice when the client leaves.
//
// length is the announced length, or -1. It is believed only as far as bytes arrive: no more than 1 MiB is set aside
// for a client that has sent nothing yet. A body of more than limit bytes is an error that wraps [ErrBodyTooLarge];
// other errors are r's own, unchanged.
func ReadBody(r io.Reader, length, limit int64) (*Body, error) {
	if length > limit {
		return nil, fmt.Errorf("%w: %d bytes announced, %d allowed", ErrBodyTooLarge, length, limit)
	}
	want := int64(minRead)
	if length >= 0 {
		// One byte more than announced, so that the read that fills the buffer is not followed by another buffer's.
		want = length + 1
	}
	b := &Body{Bytes: grab(int(min(want, maxUpfront))), pooled: true}
	b.refs.Store(1)
	for {
		n, err := r.Read(b.Bytes[len(b.Bytes):cap(b.Bytes)])
		b.Bytes = b.Bytes[:len(b.Bytes)+n]
		if int64(len(b.Bytes)) > limit {
			b.Release()
			return nil, fmt.Errorf("%w: more than %d bytes", ErrBodyTooLarge, limit)
		}
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			b.Release()
			return nil, err
		}
		if len(b.Bytes) == cap(b.Bytes) {
			b.grow(int(want))
		}
	}
}

const minRead = 4 << 10

// grow makes room for more. Growing by eight means that a large body is copied at most once or twice on its way.
func (b *Body) grow(want int) {
	next := grab(max(min(want, 8*cap(b.Bytes)), 2*cap(b.Bytes)))
	next = append(next, b.Bytes...)
	recycle(b.Bytes)
	b.Bytes = next
}
