package toolcall

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// kind is what a value is, in the words of JSON Schema.
type kind string

const (
	null    kind = "null"
	boolean kind = "boolean"
	number  kind = "number"
	integer kind = "integer" // of schemas only
	text    kind = "string"
	list    kind = "array"
	object  kind = "object"
)

// value is a JSON value that keeps the order of its members and the digits of its numbers.
type value struct {
	kind kind
	// text is a string's content, or a number or boolean as JSON writes it.
	text string
	// names are an object's member names, elements their values, or a list's elements.
	names    []string
	elements []value
}

// str returns a string value.
func str(s string) value { return value{kind: text, text: s} }

// member returns the last member with the given name, as JSON parsers do.
func (v value) member(name string) (value, bool) {
	for i, n := range slices.Backward(v.names) {
		if n == name {
			return v.elements[i], true
		}
	}
	return value{}, false
}

// with returns the object with a member set.
func (v value) with(name string, member value) value {
	names, elements := slices.Clone(v.names), slices.Clone(v.elements)
	if at := slices.Index(names, name); at >= 0 {
		elements[at] = member
	} else {
		names, elements = append(names, name), append(elements, member)
	}
	return value{kind: object, names: names, elements: elements}
}

// without returns the object without members of that name.
func (v value) without(name string) value {
	w := value{kind: object}
	for i, n := range v.names {
		if n != name {
			w.names, w.elements = append(w.names, n), append(w.elements, v.elements[i])
		}
	}
	return w
}

// renamed returns the object with another name for a member, in its place.
func (v value) renamed(old, name string) value {
	v.names = slices.Clone(v.names)
	v.names[slices.Index(v.names, old)] = name
	return v
}

// String returns the value as JSON without spaces.
func (v value) String() string {
	var b strings.Builder
	v.write(&b)
	return b.String()
}

func (v value) write(b *strings.Builder) {
	switch v.kind {
	case text:
		b.WriteString(quote(v.text))
	case number, boolean:
		b.WriteString(v.text)
	case list:
		b.WriteByte('[')
		for i, e := range v.elements {
			if i > 0 {
				b.WriteByte(',')
			}
			e.write(b)
		}
		b.WriteByte(']')
	case object:
		b.WriteByte('{')
		for i, name := range v.names {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(quote(name))
			b.WriteByte(':')
			v.elements[i].write(b)
		}
		b.WriteByte('}')
	default:
		b.WriteString("null")
	}
}

// equal reports whether two values are the same to JSON: members in any order, numbers by what they are worth.
func equal(a, b value) bool {
	if a.kind != b.kind || len(a.elements) != len(b.elements) {
		return false
	}
	switch a.kind {
	case number:
		return a.text == b.text || sameNumber(a.text, b.text)
	case list:
		return slices.EqualFunc(a.elements, b.elements, equal)
	case object:
		for i, name := range a.names {
			if other, ok := b.member(name); !ok || !equal(a.elements[i], other) {
				return false
			}
		}
		return true
	default:
		return a.text == b.text
	}
}

// quote returns s as a JSON string, without the escapes for HTML.
func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil { // no string makes it fail
		panic(err)
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}
