package toolcall

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode"
)

// candidate is a tool that a call may mean, and the arguments that it would get.
type candidate struct {
	tool      *tool
	arguments value
}

// candidates returns which tools a call may mean. There is one for a name that is offered, also with a prefix such as
// "functions." or in another case, and for a name that leaves out words of only one tool. If words of several are left out,
// the arguments have to decide.
func (t *Tools) candidates(name string, arguments value) []candidate {
	if exact := t.byName[name]; exact != nil {
		return []candidate{{exact, arguments}}
	}
	if at := strings.LastIndexAny(name, ".:/"); at >= 0 && t.byName[name[at+1:]] != nil {
		return []candidate{{t.byName[name[at+1:]], arguments}}
	}
	called := words(name)
	if len(called) == 0 {
		return nil
	}
	found := t.withWords(called, arguments)
	// Models that were trained on one tool for all of a computer name what they do in an argument.
	if action, ok := arguments.member("action"); ok && action.kind == text && !t.closest(found, called) {
		if acted := t.candidates(action.text, arguments.without("action")); len(acted) > 0 {
			return acted
		}
	}
	return found
}

// closest reports whether one of the tools found is what was called, word for word.
func (t *Tools) closest(found []candidate, called []string) bool {
	return slices.ContainsFunc(found, func(c candidate) bool { return len(c.tool.words) == len(called) })
}

// withWords returns the tools that have all the words that were called. A word may also be a value that the tool takes: what
// is called left_click is a click with the left button.
func (t *Tools) withWords(called []string, arguments value) (found []candidate) {
	exact := false
	for _, name := range t.names {
		tool := t.byName[name]
		var others []string
		for _, word := range called {
			if !slices.Contains(tool.words, word) {
				others = append(others, word)
			}
		}
		if len(others) == len(called) {
			continue
		}
		with, ok := setWords(tool.schema.resolved(), arguments, others)
		if !ok {
			continue
		}
		if len(others) == 0 && len(tool.words) == len(called) {
			if !exact {
				found = nil
			}
			exact = true
		} else if exact {
			continue
		}
		found = append(found, candidate{tool, with})
	}
	return found
}

// counts are words for how often something is done.
var counts = map[string]string{"double": "2", "triple": "3"}

// setWords sets the properties that the words are values of. Each word has to be a value of one property, and not
// contradict what is set.
func setWords(s *schema, arguments value, words []string) (value, bool) {
	for _, word := range words {
		var property string
		var set value
		for _, name := range s.names {
			v, ok := s.properties[name].resolved().named(name, word)
			if !ok {
				continue
			}
			if property != "" {
				return arguments, false
			}
			property, set = name, v
		}
		given, ok := arguments.member(property)
		if property == "" || ok && !equal(given, set) {
			return arguments, false
		}
		arguments = arguments.with(property, set)
	}
	return arguments, true
}

// named returns the value that a word stands for, if this property, called name, can have it.
func (s *schema) named(name, word string) (value, bool) {
	if n, ok := counts[word]; ok && slices.Contains(s.types, integer) && slices.Contains(words(name), "count") {
		return value{kind: number, text: n}, true
	}
	for _, v := range s.enum {
		if v.kind == text && squeeze(v.text) == word {
			return v, true
		}
	}
	return value{}, false
}

// words returns the words of a name in lower case, without a plural's s: those of typeKeys and type_key are the same.
func words(name string) []string {
	var spaced strings.Builder
	lower := false
	for _, r := range name {
		switch {
		case unicode.IsUpper(r):
			if lower {
				spaced.WriteByte(' ')
			}
			spaced.WriteRune(unicode.ToLower(r))
		case unicode.IsLetter(r), unicode.IsDigit(r):
			spaced.WriteRune(r)
		default:
			spaced.WriteByte(' ')
		}
		lower = unicode.IsLower(r) || unicode.IsDigit(r)
	}
	all := strings.Fields(spaced.String())
	for i, word := range all {
		if len(word) > 3 && !strings.HasSuffix(word, "ss") && !strings.HasSuffix(word, "us") {
			all[i] = strings.TrimSuffix(word, "s")
		}
	}
	return slices.Compact(all)
}

// strict reports whether s is JSON as everybody reads it.
func strict(s string) bool { return json.Valid([]byte(s)) }
