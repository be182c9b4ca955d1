package toolcall

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Tools are the tools that a client offers. The zero value offers none.
//
// Tools does not change once made and may be used by many goroutines at once.
type Tools struct {
	byName   map[string]*tool
	names    []string
	defaults map[string]map[string]value
}

type tool struct {
	name   string
	words  []string
	schema *schema
}

// Read returns the tools in the value of a chat request's member "tools". What is not a function is left out.
//
// defaults are values for properties that a schema requires without a default, as JSON, by "tool.property": what a client
// would do anyway, such as to click with the left button. They may be nil.
func Read(tools []byte, defaults map[string]string) (*Tools, error) {
	t := &Tools{byName: make(map[string]*tool), defaults: make(map[string]map[string]value)}
	offered, n, err := parse(string(tools))
	if err != nil || strings.TrimSpace(string(tools[n:])) != "" || offered.kind != list {
		return nil, fmt.Errorf("reading tools: not a list")
	}
	for _, e := range offered.elements {
		function, _ := e.member("function")
		name, _ := function.member("name")
		if name.kind != text || name.text == "" {
			continue
		}
		parameters, _ := function.member("parameters")
		if t.byName[name.text] == nil {
			t.names = append(t.names, name.text)
		}
		t.byName[name.text] = &tool{name.text, words(name.text), readSchema(parameters, nil, 0)}
	}
	for _, key := range slices.Sorted(maps.Keys(defaults)) {
		name, property, _ := strings.Cut(key, ".")
		v, err := parseAll(defaults[key])
		if err != nil {
			return nil, fmt.Errorf("reading the default of %s: %w", key, err)
		}
		if t.defaults[name] == nil {
			t.defaults[name] = make(map[string]value)
		}
		t.defaults[name][property] = v
	}
	return t, nil
}

// Empty reports whether no tools are offered, so that there is nothing to repair. A nil *Tools is empty.
func (t *Tools) Empty() bool { return t == nil || len(t.names) == 0 }

// Offers reports whether a tool of that name is offered.
func (t *Tools) Offers(name string) bool { return t != nil && t.byName[name] != nil }

// Call is one call of a tool.
type Call struct {
	ID   string
	Name string
	// Arguments is JSON, an object if the call is right.
	Arguments string
}

// Problem says why a call cannot be made, in words for the model that made it.
type Problem struct {
	// Call is the name that the model called, or empty if none can be read.
	Call string
	// Text is one sentence or more. It quotes the call.
	Text string
}

// Mend returns the call with an offered name and with arguments that fit the tool's schema. A call that is right stays as it
// is, byte for byte. If it cannot be mended, what is left of it is returned with the problem.
func (t *Tools) Mend(c Call) (Call, *Problem) {
	arguments, err := readArguments(c.Arguments)
	if err != nil {
		return c, &Problem{c.Name, fmt.Sprintf("The arguments of %s are not a JSON object: %s", quote(c.Name), shorten(c.Arguments))}
	}
	candidates := t.candidates(c.Name, arguments)
	if len(candidates) == 0 {
		return c, &Problem{c.Name, fmt.Sprintf("There is no tool %s. The tools are: %s.", quote(c.Name), strings.Join(t.names, ", "))}
	}
	var mended []Call
	var complaints [][]string
	for _, candidate := range candidates {
		f := fitter{defaults: t.defaults[candidate.tool.name]}
		fitted := f.fit(candidate.tool.schema, candidate.arguments, "", 0)
		if len(f.problems) > 0 {
			complaints = append(complaints, f.problems)
			continue
		}
		m := Call{c.ID, candidate.tool.name, c.Arguments}
		if !same(fitted, arguments) || !strings.HasPrefix(strings.TrimSpace(c.Arguments), "{") || !strict(c.Arguments) {
			m.Arguments = fitted.String()
		}
		mended = append(mended, m)
	}
	switch {
	case len(mended) == 1:
		return mended[0], nil
	case len(mended) > 1, len(complaints) > 1:
		names := make([]string, len(candidates))
		for i, candidate := range candidates {
			names[i] = candidate.tool.name
		}
		return c, &Problem{c.Name, fmt.Sprintf("There is no tool %s. Did you mean one of these: %s?", quote(c.Name), strings.Join(names, ", "))}
	}
	c.Name = candidates[0].tool.name
	return c, &Problem{c.Name, fmt.Sprintf("The call of %s does not fit: %s.", c.Name, strings.Join(complaints[0], "; "))}
}

// readArguments reads an object, also one that was made a string again. Nothing and null stand for no arguments.
func readArguments(s string) (value, error) {
	if strings.TrimSpace(s) == "" {
		return value{kind: object}, nil
	}
	for range 3 {
		v, err := parseAll(s)
		switch {
		case err != nil:
			return value{}, err
		case v.kind == null:
			return value{kind: object}, nil
		case v.kind == object:
			return v, nil
		case v.kind != text:
			return value{}, errSyntax
		}
		s = v.text
	}
	return value{}, errSyntax
}

// same reports whether two values are written the same: equal with numbers digit for digit and members in the same order.
func same(a, b value) bool {
	return a.kind == b.kind && a.text == b.text && slices.Equal(a.names, b.names) && slices.EqualFunc(a.elements, b.elements, same)
}
