package toolcall

import (
	"slices"
	"strings"
)

// schema is what of a JSON Schema can be used to mend a value. Keywords that are not here are not looked at: what they would
// refuse passes, and is the client's to judge.
type schema struct {
	// types are those allowed; none means any. null stands for nullable too, OpenAPI's word.
	types []kind
	enum  []value
	// names are the properties in the order they are written, which is the order of a point's coordinates.
	names      []string
	properties map[string]*schema
	required   []string
	// closed means that there may be no other properties.
	closed   bool
	items    *schema
	branches []*schema // anyOf, oneOf
	all      []*schema
	fallback *value // default
	ref      string
	root     *schema
	defs     map[string]*schema
}

// readSchema returns the schema that v is. Anything that makes no sense allows all.
func readSchema(v value, root *schema, depth int) *schema {
	s := &schema{root: root}
	if root == nil {
		s.root = s
	}
	if v.kind != object || depth > maxDepth {
		return s
	}
	for i, name := range v.names {
		switch member := v.elements[i]; name {
		case "type":
			s.readTypes(member)
		case "enum":
			s.enum = member.elements
		case "const":
			s.enum = []value{member}
		case "default":
			s.fallback = &member
		case "properties":
			s.names = member.names
			s.properties = s.readAll(member, depth)
		case "required":
			for _, e := range member.elements {
				s.required = append(s.required, e.text)
			}
		case "additionalProperties":
			s.closed = member.kind == boolean && member.text == "false"
		case "items":
			s.items = readSchema(member, s.root, depth+1)
		case "anyOf", "oneOf":
			s.branches = s.readList(member, depth)
		case "allOf":
			s.all = s.readList(member, depth)
		case "$defs", "definitions":
			s.defs = s.readAll(member, depth)
		case "$ref":
			s.ref = member.text
		}
	}
	if nullable, _ := v.member("nullable"); nullable.text == "true" && len(s.types) > 0 {
		s.types = append(s.types, null)
	}
	return s
}

// readTypes reads the names of types. With one that nobody knows, everything is allowed.
func (s *schema) readTypes(v value) {
	for _, t := range append([]value{v}, v.elements...) {
		if t.kind != text {
			continue
		}
		name := kind(strings.ToLower(t.text))
		if !slices.Contains([]kind{null, boolean, number, integer, text, list, object}, name) {
			s.types = nil
			return
		}
		s.types = append(s.types, name)
	}
}

func (s *schema) readAll(v value, depth int) map[string]*schema {
	all := make(map[string]*schema, len(v.names))
	for i, name := range v.names {
		all[name] = readSchema(v.elements[i], s.root, depth+1)
	}
	return all
}

func (s *schema) readList(v value, depth int) (all []*schema) {
	for _, e := range v.elements {
		all = append(all, readSchema(e, s.root, depth+1))
	}
	return all
}

// resolved follows references to the schema's own definitions. Others allow anything.
func (s *schema) resolved() *schema {
	for range maxDepth {
		if s.ref == "" {
			return s
		}
		name := s.ref[strings.LastIndexByte(s.ref, '/')+1:]
		next, ok := s.root.defs[name]
		if !ok {
			break
		}
		s = next
	}
	return &schema{root: s.root}
}

// allows reports whether a value may be of that kind. An integer is a number.
func (s *schema) allows(k kind) bool {
	return len(s.types) == 0 || slices.Contains(s.types, k)
}

// nullable reports whether null is as good as a value: it is allowed, or one of an enumeration's values, as OpenAPI and JSON
// Schema have it.
func (s *schema) nullable() bool {
	return slices.Contains(s.types, null) || slices.ContainsFunc(s.enum, func(v value) bool { return v.kind == null }) ||
		len(s.types) == 0 && len(s.enum) == 0 && len(s.branches) == 0 ||
		slices.ContainsFunc(s.branches, func(b *schema) bool { return b.resolved().nullable() })
}

// only returns the one value that is allowed, if there is but one.
func (s *schema) only() (value, bool) {
	if len(s.enum) == 1 {
		return s.enum[0], true
	}
	return value{}, false
}

// describe says in words what is allowed.
func (s *schema) describe() string {
	s = s.resolved()
	if len(s.enum) > 0 {
		words := make([]string, len(s.enum))
		for i, v := range s.enum {
			words[i] = v.String()
		}
		if len(words) == 1 {
			return words[0]
		}
		return "one of " + strings.Join(words, ", ")
	}
	var words []string
	for _, t := range s.types {
		switch t {
		case null:
		case integer:
			words = append(words, "a whole number")
		case object:
			words = append(words, "an object"+s.shape())
		case list:
			words = append(words, s.listOf())
		case boolean:
			words = append(words, "true or false")
		default:
			words = append(words, "a "+string(t))
		}
	}
	for _, b := range s.branches {
		words = append(words, b.describe())
	}
	if len(words) == 0 {
		return "a value"
	}
	return strings.Join(words, " or ")
}

// shape shows which properties an object has.
func (s *schema) shape() string {
	if len(s.names) == 0 {
		return ""
	}
	parts := make([]string, len(s.names))
	for i, name := range s.names {
		parts[i] = quote(name) + ": " + strings.TrimPrefix(s.properties[name].kindWord(), "a ")
	}
	return " {" + strings.Join(parts, ", ") + "}"
}

func (s *schema) listOf() string {
	if s.items == nil {
		return "a list"
	}
	return "a list, each element " + s.items.describe()
}

func (s *schema) kindWord() string {
	if s = s.resolved(); len(s.types) > 0 {
		return string(s.types[0])
	}
	return "value"
}
