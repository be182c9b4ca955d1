package toolcall

import (
	"errors"
	"slices"
	"strings"
)

var (
	nameKeys     = []string{"name", "tool_name", "function_name", "tool", "function", "action"}
	argumentKeys = []string{"arguments", "parameters", "input", "args", "params", "tool_input", "action_input"}
	wrapperKeys  = []string{"tool_calls", "tool_call", "function_call", "function", "tool"}
)

// readCalls reads v as a call or a list of calls. If marked, the text said that it is one: then it may have no arguments, or
// have them beside its name.
func readCalls(v value, marked bool) ([]Call, bool) {
	switch v.kind {
	case list:
		var calls []Call
		for _, e := range v.elements {
			more, ok := readCalls(e, marked)
			if !ok || e.kind == list {
				return nil, false
			}
			calls = append(calls, more...)
		}
		return calls, len(calls) > 0
	case object:
		for _, key := range wrapperKeys {
			if inner, ok := v.member(key); ok && inner.kind != text {
				calls, ok := readCalls(inner, marked)
				if id, _ := v.member("id"); ok && len(calls) == 1 && calls[0].ID == "" {
					calls[0].ID = id.text
				}
				return calls, ok
			}
		}
		call, ok := readCall(v, marked)
		return []Call{call}, ok
	default:
		return nil, false
	}
}

// readCalls reads v as the function does or, if nothing marks it, as a call with its arguments beside its name. loose is true if that
// is not the very name of an offered tool: then it is a call only if it is all that the model says, since models also
// quote JSON that has a name and something else.
func (t *Tools) readCalls(v value, marked bool) (calls []Call, loose, ok bool) {
	calls, ok = readCalls(v, marked)
	if ok || marked || v.kind != object {
		return calls, false, ok
	}
	call, named := readCall(v, true)
	return []Call{call}, !t.Offers(call.Name), named && t.fitsExactly(call)
}

// fitsExactly reports whether a call can be mended and has no arguments but those of its tool.
func (t *Tools) fitsExactly(c Call) bool {
	mended, problem := t.Mend(c)
	if problem != nil {
		return false
	}
	arguments, err := readArguments(mended.Arguments)
	if err != nil || len(arguments.names) == 0 {
		return false
	}
	known := t.byName[mended.Name].schema.resolved().properties
	return !slices.ContainsFunc(arguments.names, func(name string) bool { return known[name] == nil })
}

func readCall(v value, marked bool) (Call, bool) {
	var call Call
	nameKey := ""
	for _, key := range nameKeys {
		if name, ok := v.member(key); ok && name.kind == text && strings.TrimSpace(name.text) != "" {
			call.Name, nameKey = strings.TrimSpace(name.text), key
			break
		}
	}
	if nameKey == "" {
		return call, false
	}
	id, _ := v.member("id")
	call.ID = id.text
	for _, key := range argumentKeys {
		if arguments, ok := v.member(key); ok {
			call.Arguments = arguments.String()
			if arguments.kind == text {
				call.Arguments = arguments.text
			}
			if !marked && arguments.describes() {
				return call, false
			}
			return call, marked || arguments.kind == object || arguments.kind == text && strings.HasPrefix(strings.TrimSpace(arguments.text), "{")
		}
	}
	rest := v.without(nameKey).without("id").without("type")
	call.Arguments = rest.String()
	return call, marked || len(rest.names) == 0
}

// describes reports whether v is the schema of arguments, with which a tool is defined and not called.
func (v value) describes() bool {
	kind, _ := v.member("type")
	properties, ok := v.member("properties")
	return ok && properties.kind == object && kind.kind == text && kind.text == "object"
}

// likely reports whether what is not marked as calls can only be meant as such: all of an offered tool, and those without
// arguments by its very name.
func (t *Tools) likely(calls []Call) bool {
	return len(calls) > 0 && !slices.ContainsFunc(calls, func(c Call) bool {
		arguments, err := readArguments(c.Arguments)
		if err != nil || len(arguments.names) == 0 {
			return !t.Offers(c.Name)
		}
		return len(t.candidates(c.Name, arguments)) == 0
	})
}

// alone returns m if nothing was said before it and nothing follows, which may only be known at the end.
func alone(m match, behind string, said, final bool) match {
	switch {
	case said || strings.TrimSpace(behind) != "":
		return match{}
	case !final:
		return match{wait: true}
	default:
		return m
	}
}

// readBare reads calls in JSON that nothing marks, alone on their lines. said is true if something was said before.
func (t *Tools) readBare(s string, said, final bool) match {
	if !mayBeCall(s) {
		return match{}
	}
	v, n, err := parse(s)
	if err != nil {
		return match{wait: !final && errors.Is(err, errIncomplete)}
	}
	calls, loose, ok := t.readCalls(v, false)
	if !ok || !t.likely(calls) {
		return match{}
	}
	if loose {
		return alone(match{size: len(s), calls: calls}, s[n:], said, final)
	}
	rest := strings.TrimLeft(s[n:], " \t\r;,")
	for _, end := range []string{"<|eot_id|>", "<|eom_id|>", "<|im_end|>", "</tool_call>"} {
		if strings.HasPrefix(rest, end) {
			rest = strings.TrimLeft(rest[len(end):], " \t\r")
		} else if !final && begins(end, rest) {
			return match{wait: true}
		}
	}
	if rest != "" && rest[0] != '\n' && rest[0] != '{' {
		return match{}
	}
	return match{size: len(s) - len(rest), calls: calls}
}
