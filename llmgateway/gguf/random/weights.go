package random

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
)

// encode makes the blocks that a type of weights consists of, out of random bits and the size that its numbers should
// have. Every bit pattern of the rest of a block is a number, so only its scale needs care.
var encode = map[gguf.TensorType]struct {
	bytes int
	block func(b []byte, size float32)
}{
	gguf.F16: {2, func(b []byte, size float32) {
		sign := uint16(b[1]&0x80) << 8
		fraction := uint16(b[1]&3)<<8 | uint16(b[0])
		binary.LittleEndian.PutUint16(b, sign|halfExponent(size)|fraction)
	}},
	gguf.Q8_0: {34, func(b []byte, size float32) { putScale(b, size/64) }},
	gguf.Q4_0: {18, func(b []byte, size float32) { putScale(b, size/4) }},
	gguf.Q4_K: {144, func(b []byte, size float32) {
		// A number is scale * 6 bits * 4 bits - minimum * 6 bits.
		putScale(b, size/256)
		putScale(b[2:], size/32)
	}},
	gguf.Q6_K: {210, func(b []byte, size float32) {
		putScale(b[208:], size/1024) // times 8 bits with a sign times 6 bits with a sign
	}},
	gguf.MXFP4: {17, func(b []byte, size float32) {
		_, exponent := math.Frexp(float64(size))
		b[0] = byte(127 - 2 + exponent)
	}},
}

// patternBytes is how much is really made up. It is repeated, but never at the beginning of a row: models are written as
// fast as the disk takes them, and yet no two rows of a matrix are equal.
const patternBytes = 1 << 20

// weights returns endless weights of a type, of about the size that keeps a product with a vector of that length in its
// range.
func weights(t gguf.TensorType, rows uint64) (io.Reader, error) {
	kind, ok := encode[t]
	if !ok {
		return nil, fmt.Errorf("no random weights of type %s", t)
	}
	size := float32(1 / math.Sqrt(float64(max(rows, 1))))
	// A number of blocks that is a prime has no common divisor with the blocks of a row.
	blocks := prime(patternBytes / kind.bytes)
	pattern := make([]byte, blocks*kind.bytes)
	source := rand.NewChaCha8([32]byte{byte(t)})
	if _, err := source.Read(pattern); err != nil {
		return nil, fmt.Errorf("making weights: %w", err)
	}
	for i := range blocks {
		kind.block(pattern[i*kind.bytes:][:kind.bytes], size)
	}
	return &endless{pattern: pattern}, nil
}

// prime returns the largest prime that is at most n, which is above 1.
func prime(n int) int {
	for ; ; n-- {
		divisor := 2
		for divisor*divisor <= n && n%divisor != 0 {
			divisor++
		}
		if divisor*divisor > n {
			return n
		}
	}
}

// endless repeats a pattern.
type endless struct {
	pattern []byte
	at      int
}

// Read implements io.Reader. It never fails.
func (e *endless) Read(b []byte) (int, error) {
	n := copy(b, e.pattern[e.at:])
	e.at = (e.at + n) % len(e.pattern)
	return n, nil
}

func putScale(b []byte, size float32) {
	binary.LittleEndian.PutUint16(b, halfExponent(size))
}

// halfExponent returns the power of two next to a size, in half precision.
func halfExponent(size float32) uint16 {
	_, exponent := math.Frexp(float64(size))
	return uint16(min(max(exponent-1+15, 1), 30)) << 10
}
