package toolcall

import (
	"regexp"
	"strings"
)

// functionTag begins a call whose arguments have a tag each: <function=name> as Qwen Coder writes it, or <invoke name="name">.
var functionTag = regexp.MustCompile(`<(?:function=|invoke name=)["']?([^"'>]+)["']?>`)

// readXML reads calls with a tag for each argument, or with JSON inside.
func readXML(s string) (calls []Call) {
	tags := functionTag.FindAllStringSubmatchIndex(s, -1)
	for i, tag := range tags {
		end := len(s)
		if i+1 < len(tags) {
			end = tags[i+1][0]
		}
		body := s[tag[1]:end]
		for _, closer := range []string{"</function>", "</invoke>"} {
			body, _, _ = strings.Cut(body, closer)
		}
		call := Call{Name: strings.TrimSpace(s[tag[2]:tag[3]])}
		if body = strings.TrimSpace(body); strings.HasPrefix(body, "{") {
			v, err := parseAll(body)
			if err != nil {
				return nil
			}
			call.Arguments = v.String()
		} else {
			arguments, ok := readParameters(body)
			if !ok {
				return nil
			}
			call.Arguments = arguments.String()
		}
		calls = append(calls, call)
	}
	return calls
}

var parameterTag = regexp.MustCompile(`<parameter(?:=|\s+name=)["']?([^"'>]+)["']?>`)

// readParameters reads one tag for each argument.
func readParameters(s string) (value, bool) {
	arguments := value{kind: object}
	for {
		tag := parameterTag.FindStringSubmatchIndex(s)
		if tag == nil {
			return arguments, strings.TrimSpace(s) == ""
		}
		if strings.TrimSpace(s[:tag[0]]) != "" {
			return arguments, false
		}
		name := strings.TrimSpace(s[tag[2]:tag[3]])
		content, rest, ok := strings.Cut(s[tag[1]:], "</parameter>")
		if !ok {
			return arguments, false
		}
		arguments = arguments.with(name, readLoose(content))
		s = rest
	}
}

// readLoose reads an argument that stands between tags: JSON if it is a list or an object, and otherwise a string, which the
// schema may make something else. One line break at each end belongs to the tags.
func readLoose(s string) value {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "\n"), "\n")
	if trimmed := strings.TrimSpace(s); strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[") {
		if v, n, err := parse(trimmed); err == nil && n == len(trimmed) {
			return v
		}
	}
	return str(s)
}

// readPairs reads GLM's form: the name, then tags for the name and the value of each argument.
func readPairs(s string) []Call {
	const keyTag, keyEnd, valueTag, valueEnd = "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"
	name, rest, ok := strings.Cut(s, keyTag)
	if name = strings.TrimSpace(name); name == "" || strings.ContainsAny(name, " (){}[]<>\n") {
		return nil
	}
	arguments := value{kind: object}
	for ok {
		var key, content string
		if key, rest, ok = strings.Cut(rest, keyEnd); !ok {
			return nil
		}
		if _, rest, ok = strings.Cut(rest, valueTag); !ok {
			return nil
		}
		if content, rest, ok = strings.Cut(rest, valueEnd); !ok {
			return nil
		}
		arguments = arguments.with(strings.TrimSpace(key), readLoose(content))
		_, rest, ok = strings.Cut(rest, keyTag)
	}
	return []Call{{Name: name, Arguments: arguments.String()}}
}

// readDeepSeek reads what stands between DeepSeek's markers for calls: each with its name, and with JSON that may be in a
// code block.
func readDeepSeek(s string) (calls []Call) {
	const begin, sep = "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>"
	parts := strings.Split(s, begin)
	for _, part := range parts[1:] {
		name, body, ok := strings.Cut(part, sep)
		if !ok {
			return nil
		}
		if strings.TrimSpace(name) == "function" { // a type, and the name is in the next line
			name, body, _ = strings.Cut(body, "\n")
		}
		at := strings.IndexByte(body, '{')
		if at < 0 {
			return nil
		}
		v, _, err := parse(body[at:])
		if err != nil {
			return nil
		}
		calls = append(calls, Call{Name: strings.TrimSpace(name), Arguments: v.String()})
	}
	return calls
}
