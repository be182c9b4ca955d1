package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Value is the text of one JSON value, without white space around it, whose grammar has been checked. Nil is a value that is
// not there. Walking it costs no copies, and skips long strings at memory speed.
type Value []byte

// ParseObject returns the JSON object that a request's body is. Anything else is an [llmgateway.InvalidRequest] error that
// says where.
func ParseObject(body []byte) (Value, error) {
	if err := checkObject(body); err != nil {
		return nil, notObject(body, err)
	}
	return bytes.TrimSpace(body), nil
}

func notObject(body []byte, err error) error {
	message := "the request body is not a JSON object"
	if syntax, ok := errors.AsType[*syntaxError](err); ok && len(body) > 0 {
		message = "the request body is " + syntax.Error()
	} else if len(body) == 0 {
		message = "the request body is empty; send a JSON object"
	}
	return &llmgateway.Error{Kind: llmgateway.InvalidRequest, Message: message, Code: "invalid_json"}
}

// Members yields the members of an object, in order. Another value has none.
func (v Value) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		if !v.IsObject() {
			return
		}
		for i := skipSpace(v, 1); v[i] != '}'; {
			nameEnd, start, _ := skipName(v, i)
			end := skip(v, start)
			if !yield(name(v[i:nameEnd]), v[start:end:end]) {
				return
			}
			if i = skipSpace(v, end); v[i] == ',' {
				i = skipSpace(v, i+1)
			}
		}
	}
}

// Elements yields the elements of a list, in order. Another value has none.
func (v Value) Elements() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if !v.IsList() {
			return
		}
		for i := skipSpace(v, 1); v[i] != ']'; {
			end := skip(v, i)
			if !yield(v[i:end:end]) {
				return
			}
			if i = skipSpace(v, end); v[i] == ',' {
				i = skipSpace(v, i+1)
			}
		}
	}
}

// Get returns a member of an object, the last one of that name. It is nil if there is none, or if it is null.
func (v Value) Get(member string) (found Value) {
	for name, value := range v.Members() {
		if name == member {
			found = value
		}
	}
	return found.known()
}

// Pick returns several members in one walk, as [Value.Get] does.
func (v Value) Pick(members ...string) []Value {
	found := make([]Value, len(members))
	for name, value := range v.Members() {
		for i, member := range members {
			if name == member {
				found[i] = value.known()
			}
		}
	}
	return found
}

func (v Value) known() Value {
	if string(v) == "null" {
		return nil
	}
	return v
}

// IsString reports whether the value is a string.
func (v Value) IsString() bool { return len(v) > 0 && v[0] == '"' }

// IsObject reports whether the value is an object.
func (v Value) IsObject() bool { return len(v) > 0 && v[0] == '{' }

// IsList reports whether the value is a list.
func (v Value) IsList() bool { return len(v) > 0 && v[0] == '[' }

// IsTrue reports whether the value is true.
func (v Value) IsTrue() bool { return string(v) == "true" }

// Inner returns what is between the quotes of a string, as it is written, or nil.
func (v Value) Inner() []byte {
	if !v.IsString() {
		return nil
	}
	return v[1 : len(v)-1]
}

// Text returns what a string says. Another value says nothing.
func (v Value) Text() string {
	inner := v.Inner()
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}
