package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Half encodes numbers as a tensor of type F16. It takes only numbers that F16 holds exactly, so that a model which is
// written by hand computes with what was written; others are an error.
func Half(numbers []float32) ([]byte, error) {
	out := make([]byte, 0, 2*len(numbers))
	for i, n := range numbers {
		h, ok := half(n)
		if !ok {
			return nil, fmt.Errorf("number %d, %v, has no exact half-precision form", i, n)
		}
		out = binary.LittleEndian.AppendUint16(out, h)
	}
	return out, nil
}

// Single encodes numbers as a tensor of type F32.
func Single(numbers []float32) []byte {
	out := make([]byte, 0, 4*len(numbers))
	for _, n := range numbers {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(n))
	}
	return out
}

// half converts a normal number or zero to IEEE 754 binary16: 1 bit sign, 5 exponent, 10 fraction.
func half(n float32) (uint16, bool) {
	bits := math.Float32bits(n)
	sign := uint16(bits >> 16 & 0x8000)
	if n == 0 {
		return sign, true
	}
	exponent := int(bits>>23&0xff) - 127 + 15
	fraction := bits & 0x7fffff
	if exponent < 1 || exponent > 30 || fraction&0x1fff != 0 {
		return 0, false
	}
	return sign | uint16(exponent)<<10 | uint16(fraction>>13), true
}
