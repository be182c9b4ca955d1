package gguf

import (
	"fmt"
	"math"
)

// Type is the type of a metadata value.
type Type uint32

// The types of metadata values. An array's elements have a type of their own, which is never TypeArray.
const (
	TypeUint8   Type = 0
	TypeInt8    Type = 1
	TypeUint16  Type = 2
	TypeInt16   Type = 3
	TypeUint32  Type = 4
	TypeInt32   Type = 5
	TypeFloat32 Type = 6
	TypeBool    Type = 7
	TypeString  Type = 8
	TypeArray   Type = 9
	TypeUint64  Type = 10
	TypeInt64   Type = 11
	TypeFloat64 Type = 12
)

// size returns how many bytes a value of a fixed size takes, and 0 for all others.
func (t Type) size() uint64 {
	switch t {
	case TypeUint8, TypeInt8, TypeBool:
		return 1
	case TypeUint16, TypeInt16:
		return 2
	case TypeUint32, TypeInt32, TypeFloat32:
		return 4
	case TypeUint64, TypeInt64, TypeFloat64:
		return 8
	default:
		return 0
	}
}

// Value is one metadata value. Strings above a mebibyte and arrays above 1024 elements keep their type and length only:
// a tokenizer's words and merges are most of a header, and nobody here needs them.
type Value struct {
	Type Type

	// Elem is the type of an array's elements.
	Elem Type

	// Len is the number of an array's elements, or of a string's bytes.
	Len uint64

	data any // uint64, int64, float64, bool, string, []any of these, or nil if it was stepped over
}

// Loaded reports whether the value itself was read, and not only its type and length.
func (v Value) Loaded() bool { return v.data != nil }

// Uint returns an integer of any width that is not negative.
func (v Value) Uint() (uint64, bool) { return toUint(v.data) }

// Float returns a number of any type.
func (v Value) Float() (float64, bool) {
	switch n := v.data.(type) {
	case float64:
		return n, true
	case uint64:
		return float64(n), true
	case int64:
		return float64(n), true
	default:
		return 0, false
	}
}

// Bool returns a truth value.
func (v Value) Bool() (b, ok bool) {
	b, ok = v.data.(bool)
	return b, ok
}

// Text returns a string.
func (v Value) Text() (string, bool) {
	s, ok := v.data.(string)
	return s, ok
}

// Uints returns an array of integers, or a single integer as an array of one: several keys may be either.
func (v Value) Uints() ([]uint64, bool) {
	if n, ok := v.Uint(); ok {
		return []uint64{n}, true
	}
	return elements(v.data, toUint)
}

// Texts returns an array of strings.
func (v Value) Texts() ([]string, bool) {
	return elements(v.data, func(e any) (string, bool) { s, ok := e.(string); return s, ok })
}

// String returns the value for people to read.
func (v Value) String() string {
	switch {
	case v.data != nil:
		return fmt.Sprint(v.data)
	case v.Type == TypeArray:
		return fmt.Sprintf("[%d elements]", v.Len)
	default:
		return fmt.Sprintf("[%d bytes]", v.Len)
	}
}

func toUint(data any) (uint64, bool) {
	switch n := data.(type) {
	case uint64:
		return n, true
	case int64:
		if n >= 0 {
			return uint64(n), true
		}
	case bool: // sliding window patterns come as truth values or as numbers
		if n {
			return 1, true
		}
		return 0, true
	case float64:
		if n >= 0 && n < 1<<53 && n == math.Trunc(n) {
			return uint64(n), true
		}
	}
	return 0, false
}

func elements[T any](data any, convert func(any) (T, bool)) ([]T, bool) {
	list, ok := data.([]any)
	if !ok {
		return nil, false
	}
	out := make([]T, 0, len(list))
	for _, e := range list {
		v, ok := convert(e)
		if !ok {
			return nil, false
		}
		out = append(out, v)
	}
	return out, true
}

// Interface guards
var _ fmt.Stringer = Value{}
