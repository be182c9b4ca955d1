package toolcall

import "strings"

// readPython reads calls as Python writes them, each with names for its arguments: name(x=1), or name.call(x=1). They may
// stand in a list.
func readPython(s string) (calls []Call) {
	p := parser{s: strings.TrimSpace(s)}
	if strings.HasPrefix(p.s, "[") && strings.HasSuffix(p.s, "]") {
		p.s = p.s[1 : len(p.s)-1]
	}
	for p.peek() != 0 {
		call, ok := p.pythonCall()
		if !ok {
			return nil
		}
		calls = append(calls, call)
		if c := p.peek(); c == ',' || c == ';' {
			p.i++
		}
	}
	return calls
}

// pythonCall reads one call.
func (p *parser) pythonCall() (Call, bool) {
	p.space()
	start := p.i
	for p.i < len(p.s) && (wordByte(p.s[p.i]) || p.s[p.i] == '.') {
		p.i++
	}
	name := strings.TrimSuffix(p.s[start:p.i], ".call")
	if name == "" || p.peek() != '(' {
		return Call{}, false
	}
	p.i++
	arguments := value{kind: object}
	for p.peek() != ')' {
		key := p.word()
		if key == "" || p.peek() != '=' {
			return Call{}, false
		}
		p.i++
		v, err := p.value(0)
		if err != nil || p.comma(')') != nil {
			return Call{}, false
		}
		arguments = arguments.with(key, v)
	}
	p.i++
	return Call{Name: name, Arguments: arguments.String()}, true
}
