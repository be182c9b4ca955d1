package toolcall

import (
	"slices"
	"strconv"
	"strings"
)

// fitsType reports whether a value is of a kind that the schema allows.
func fitsType(s *schema, v value) bool {
	if len(s.types) == 0 || s.allows(v.kind) {
		return true
	}
	return v.kind == number && slices.Contains(s.types, integer) && strings.Trim(v.text, "-0123456789") == ""
}

// coerce returns v as what the schema allows, where the same can be said that way and in one way only.
func coerce(s *schema, v value) value {
	if fitsType(s, v) {
		return v
	}
	for _, to := range s.types {
		if c, ok := coerceTo(to, s, v); ok {
			return c
		}
	}
	return v
}

func coerceTo(to kind, s *schema, v value) (value, bool) {
	switch to {
	case null: // says nothing of a value
	case integer:
		if n, ok := numberIn(v); ok {
			n, ok = whole(n)
			return value{kind: number, text: n}, ok
		}
	case number:
		if n, ok := numberIn(v); ok {
			return value{kind: number, text: n}, true
		}
	case boolean:
		if word := strings.ToLower(strings.TrimSpace(v.text)); v.kind == text && (word == "true" || word == "false") {
			return value{kind: boolean, text: word}, true
		}
	case text:
		if v.kind == number || v.kind == boolean {
			return str(v.text), true
		}
	case list:
		return toList(s, v)
	case object:
		return toObject(s, v)
	}
	return value{}, false
}

func numberIn(v value) (string, bool) {
	switch v.kind {
	case number:
		return v.text, true
	case text:
		return readNumber(v.text)
	default:
		return "", false
	}
}

// toList takes a list out of a string, and a single element for a list of one.
func toList(s *schema, v value) (value, bool) {
	if inner, err := parseAll(v.text); v.kind == text && err == nil && inner.kind == list {
		return inner, true
	}
	if v.kind == null || s.items == nil || !fitsType(s.items.resolved(), v) || len(s.items.resolved().types) == 0 {
		return value{}, false
	}
	return value{kind: list, elements: []value{v}}, true
}

// toObject takes an object out of a string, and numbers in the order of an object's properties: [x, y] and "x, y".
func toObject(s *schema, v value) (value, bool) {
	if v.kind == text {
		inner, err := parseAll(v.text)
		switch {
		case err == nil && inner.kind == object:
			return inner, true
		case err != nil || inner.kind != list:
			if inner, err = parseAll("[" + strings.Trim(strings.TrimSpace(v.text), "()<>[]") + "]"); err != nil {
				return value{}, false
			}
		}
		v = inner
	}
	for v.kind == list && len(v.elements) == 1 {
		if v = v.elements[0]; v.kind == object {
			return v, true
		}
	}
	if v.kind != list || len(v.elements) != len(s.names) || len(s.names) == 0 {
		return value{}, false
	}
	o := value{kind: object}
	for i, name := range s.names {
		property := s.properties[name].resolved()
		if _, ok := numberIn(v.elements[i]); !ok || !slices.Contains(property.types, number) && !slices.Contains(property.types, integer) {
			return value{}, false
		}
		o = o.with(name, v.elements[i])
	}
	return o, true
}

// squeeze leaves out what models write in different ways: case, spaces, dashes, underscores.
func squeeze(s string) string {
	return strings.NewReplacer(" ", "", "-", "", "_", "").Replace(strings.ToLower(strings.TrimSpace(s)))
}

// alike reports whether two names of properties are the same but for case, underscores and a plural.
func alike(a, b string) bool {
	a, b = squeeze(a), squeeze(b)
	return a == b || a == b+"s" || a+"s" == b
}

func itoa(i int) string { return strconv.Itoa(i) }
