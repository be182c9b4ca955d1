package toolcall

import (
	"errors"
	"slices"
	"strings"
)

const (
	fence = "```"
	tick  = "`"
)

// languages are those of a code block that may be a call, and whether they say that it is one.
var languages = map[string]bool{
	"": false, "json": false, "json5": false, "javascript": false,
	"tool_call": true, "tool_calls": true, "tool": true, "function": true, "function_call": true,
}

// matchFence says what the code block is that held begins with. One that is no call is passed on, and its inside not looked
// into.
func (s *Scanner) matchFence(final bool) match {
	other := match{size: len(fence), until: fence}
	rest := s.held[len(fence):]
	end := strings.IndexAny(rest, "\n{[")
	if end < 0 {
		if !final && mayBeLanguage(rest) {
			return match{wait: true}
		}
		return other
	}
	marked, known := languages[strings.ToLower(strings.TrimSpace(rest[:end]))]
	if !known {
		return other
	}
	body := strings.TrimLeft(rest[end:], " \t\r\n")
	switch {
	case body == "" && !final:
		return match{wait: true}
	case body == "" || body[0] != '{' && body[0] != '[' || !marked && !mayBeCall(body):
		return other
	}
	start := len(s.held) - len(body)
	calls, loose, n, err := s.tools.readAll(body, marked)
	tail := body[n:]
	if err == nil {
		tail = strings.TrimLeft(tail, " \t\r\n")
		if !final && tail != fence && begins(fence, tail) {
			return match{wait: true}
		}
		if !strings.HasPrefix(tail, fence) && tail != "" {
			err = errSyntax
		}
	}
	closed := strings.Index(body, fence)
	switch {
	case err == nil:
		n = len(body) - len(strings.TrimPrefix(tail, fence))
	case errors.Is(err, errNoCall):
		return other
	case closed < 0 || errors.Is(err, errIncomplete) && !final:
		return match{size: other.size, until: other.until, wait: !final}
	default:
		// Brackets may be missing.
		v, err := parseAll(body[:closed])
		if err != nil {
			return other
		}
		calls, loose, _ = s.tools.readCalls(v, marked)
		n = closed + len(fence)
	}
	if len(calls) == 0 || !marked && !s.tools.likely(calls) {
		return other
	}
	m := match{size: start + n, calls: calls}
	if !loose {
		return m
	}
	if m = alone(m, s.held[m.size:], s.said, final); m.size == 0 && !m.wait {
		return other
	}
	return m
}

func mayBeLanguage(word string) bool {
	word = strings.ToLower(strings.TrimSpace(word))
	for language := range languages {
		if strings.HasPrefix(language, word) {
			return true
		}
	}
	return false
}

// callKeys are the first names in JSON that may be a call.
var callKeys = slices.Concat([]string{"id", "type"}, nameKeys, argumentKeys, wrapperKeys)

// mayBeCall reports whether JSON, which may be cut off, can be a call: as far as it goes, its first name is one of a call's.
func mayBeCall(s string) bool {
	s = strings.TrimLeft(s, "[ \t\r\n")
	if s == "" {
		return true
	}
	if s[0] != '{' {
		return false
	}
	s = strings.TrimLeft(s[1:], " \t\r\n")
	if s == "" {
		return true
	}
	key, _, whole := strings.Cut(strings.TrimLeft(s, `"'`), s[:1])
	return slices.ContainsFunc(callKeys, func(k string) bool { return k == key || !whole && strings.HasPrefix(k, key) })
}
