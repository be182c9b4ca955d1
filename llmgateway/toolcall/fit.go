package toolcall

import (
	"cmp"
	"slices"
	"strings"
)

// fitter makes a call's arguments what the tool's schema asks for.
type fitter struct {
	// defaults are values for properties that the schema requires and has no default for, by name.
	defaults map[string]value
	problems []string
}

func (f *fitter) complain(path, complaint string) {
	f.problems = append(f.problems, quote(cmp.Or(path, "arguments"))+" "+complaint)
}

// tried returns what becomes of v, and whether that is right.
func (f *fitter) tried(s *schema, v value) (value, bool) {
	attempt := fitter{}
	fitted := attempt.fit(s, v, "", 0)
	return fitted, len(attempt.problems) == 0
}

// fit returns v, or what has to become of it. path names it in complaints.
func (f *fitter) fit(s *schema, v value, path string, depth int) value {
	if s = s.resolved(); depth > maxDepth {
		return v
	}
	for _, part := range s.all {
		v = f.fit(part, v, path, depth+1)
	}
	if v.kind == null && s.nullable() {
		return v
	}
	if len(s.branches) > 0 {
		return f.fitBranch(s, v, path)
	}
	if v = coerce(s, v); !fitsType(s, v) {
		if fixed, ok := s.only(); ok {
			return fixed
		}
		f.complain(path, "must be "+s.describe()+", but is "+shorten(v.String()))
		return v
	}
	if len(s.enum) > 0 {
		return f.fitEnum(s, v, path)
	}
	switch v.kind {
	case object:
		return f.fitObject(s, v, path, depth)
	case list:
		return f.fitList(s, v, path, depth)
	default:
		return v
	}
}

// fitBranch takes the branch that v fits as it is, or else the only one that it can be mended for.
func (f *fitter) fitBranch(s *schema, v value, path string) value {
	var mended []value
	for _, branch := range s.branches {
		switch fitted, ok := f.tried(branch, v); {
		case ok && equal(fitted, v) && fitted.kind == v.kind:
			return fitted
		case ok:
			mended = append(mended, fitted)
		}
	}
	if len(mended) > 0 && !slices.ContainsFunc(mended, func(m value) bool { return !equal(m, mended[0]) }) {
		return mended[0]
	}
	f.complain(path, "must be "+s.describe()+", but is "+shorten(v.String()))
	return v
}

// fitEnum finds the value that was meant: the same, the same but for case, spaces and dashes, or the only one there is.
func (f *fitter) fitEnum(s *schema, v value, path string) value {
	var like []value
	for _, allowed := range s.enum {
		if equal(allowed, v) {
			return v
		}
		if allowed.kind == text && v.kind == text && squeeze(allowed.text) == squeeze(v.text) {
			like = append(like, allowed)
		}
	}
	if len(like) == 1 {
		return like[0]
	}
	if fixed, ok := s.only(); ok {
		return fixed
	}
	f.complain(path, "must be "+s.describe()+", but is "+shorten(v.String()))
	return v
}

func (f *fitter) fitList(s *schema, v value, path string, depth int) value {
	if s.items == nil {
		return v
	}
	fitted := value{kind: list, elements: make([]value, len(v.elements))}
	for i, e := range v.elements {
		fitted.elements[i] = f.fit(s.items, e, path+"["+itoa(i)+"]", depth+1)
	}
	return fitted
}

func (f *fitter) fitObject(s *schema, v value, path string, depth int) value {
	v = f.rename(s, v)
	v = gather(s, v)
	fitted := value{kind: object}
	for i, name := range v.names {
		member, property := v.elements[i], s.properties[name]
		if property == nil {
			if s.closed {
				f.complain(join(path, name), "is not a property; there are: "+strings.Join(s.names, ", "))
			}
			fitted.names, fitted.elements = append(fitted.names, name), append(fitted.elements, member)
			continue
		}
		optional := !slices.Contains(s.required, name)
		if member.kind == null && optional && !property.resolved().nullable() {
			continue // as good as not there
		}
		member = f.fit(property, member, join(path, name), depth+1)
		fitted.names, fitted.elements = append(fitted.names, name), append(fitted.elements, member)
	}
	for _, name := range s.required {
		if _, ok := fitted.member(name); ok {
			continue
		}
		missing := s.properties[name]
		if missing == nil {
			missing = &schema{root: s.root}
		}
		missing = missing.resolved()
		usual, ok := f.defaults[join(path, name)]
		switch fixed, single := missing.only(); {
		case missing.fallback != nil:
			fitted = fitted.with(name, *missing.fallback)
		case single:
			fitted = fitted.with(name, fixed)
		case ok:
			fitted = fitted.with(name, usual)
		default:
			f.complain(join(path, name), "is missing; it must be "+missing.describe())
		}
	}
	return fitted
}

// rename gives properties that nobody knows the name of the one that is missing and is written alike: coordinate for
// coordinates, click_count for clickCount.
func (f *fitter) rename(s *schema, v value) value {
	for _, name := range v.names {
		if s.properties[name] != nil {
			continue
		}
		var like []string
		for _, known := range s.names {
			if _, given := v.member(known); !given && alike(known, name) {
				like = append(like, known)
			}
		}
		if len(like) == 1 {
			v = v.renamed(name, like[0])
		}
	}
	return v
}

// gather puts members that are properties of the one object that is missing into it: x and y into coordinates.
func gather(s *schema, v value) value {
	var into string
	for _, name := range s.names {
		inner := s.properties[name].resolved()
		if _, given := v.member(name); given || !inner.allows(object) || len(inner.names) == 0 {
			continue
		}
		if slices.ContainsFunc(inner.names, func(n string) bool {
			_, given := v.member(n)
			return !given || s.properties[n] != nil
		}) {
			continue
		}
		if into != "" {
			return v
		}
		into = name
	}
	if into == "" {
		return v
	}
	inner := value{kind: object}
	for _, name := range s.properties[into].resolved().names {
		member, _ := v.member(name)
		inner = inner.with(name, member)
		v = v.without(name)
	}
	return v.with(into, inner)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// shorten keeps what is quoted in a complaint short.
func shorten(s string) string {
	const most = 80
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return s
}
