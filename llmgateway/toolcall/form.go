package toolcall

import (
	"errors"
	"strings"
)

// form is a way in which models mark calls in their text.
type form struct {
	opener string
	read   func(t *Tools, s string, final bool) match
}

// forms are those that a marker begins: what follows is a call, or meant as one. An opener that is the beginning of another
// stands behind it.
var forms = []form{
	{"<think>", thought("</think>")},
	{"<thinking>", thought("</thinking>")},
	{"<tool_call>", tagged("</tool_call>")},   // Qwen, Hermes, GLM
	{"<tool_calls>", tagged("</tool_calls>")}, //
	{"<function_call>", tagged("</function_call>")},
	{"<function_calls>", tagged("</function_calls>")},
	{"<functioncall>", tagged("</functioncall>")}, // Nous and Glaive
	{"<|tool_call|>", tagged("<|/tool_call|>")},   // Phi, Granite
	{"<function=", function},                      // Llama 3.1, Qwen Coder
	{"<invoke name=", function},
	{"<|python_tag|>", tagged("<|eom_id|>")},               // Llama 3
	{"[TOOL_CALLS]", mistral},                              // Mistral
	{"<｜tool▁calls▁begin｜>", tagged("<｜tool▁calls▁end｜>")}, // DeepSeek
}

// thought is the form of what is not looked into.
func thought(closer string) func(*Tools, string, bool) match {
	return func(_ *Tools, s string, _ bool) match {
		return match{size: strings.IndexByte(s, '>') + 1, until: closer}
	}
}

// tagged returns the form of calls between an opener, which ends with > and holds no other, and a closer, which may be
// missing at the end of the text.
func tagged(closer string) func(*Tools, string, bool) match {
	return func(t *Tools, s string, final bool) match {
		start := strings.IndexByte(s, '>') + 1
		body := s[start:]
		// JSON is read first, since the closer may stand in one of its strings.
		calls, _, n, err := t.readAll(body, true)
		switch {
		case err == nil && len(calls) > 0:
			rest := strings.TrimLeft(body[n:], " \t\r\n")
			if strings.HasPrefix(rest, closer) {
				return match{size: len(s) - len(rest) + len(closer), calls: calls}
			}
			if !final && begins(closer, rest) {
				return match{wait: true}
			}
			if rest == "" {
				return match{size: len(s), calls: calls}
			}
		case errors.Is(err, errIncomplete) && !final:
			return match{wait: true}
		}
		end, size := strings.Index(body, closer), len(s)
		switch {
		case end >= 0:
			size = start + end + len(closer)
			body = body[:end]
		case !final:
			return match{wait: true}
		}
		if calls := readBody(body, end >= 0); len(calls) > 0 {
			return match{size: size, calls: calls}
		}
		return match{size: size, problem: unreadable(body)}
	}
}

// unreadable is the problem of what is marked as a call and is none.
func unreadable(body string) *Problem {
	return &Problem{Text: "This was meant as a tool call and cannot be read: " + shorten(strings.TrimSpace(body)) +
		" Write a call as JSON with \"name\" and \"arguments\", and close all brackets and quotes."}
}

// errNoCall means that a text is JSON but no call.
var errNoCall = errors.New("not a call")

// readAll reads calls in JSON, one behind the other, and returns where what follows begins. See [readCalls] for marked.
func (t *Tools) readAll(s string, marked bool) (calls []Call, loose bool, n int, err error) {
	for {
		rest := strings.TrimLeft(s[n:], " \t\r\n;,")
		if rest == "" || rest[0] != '{' && rest[0] != '[' {
			if rest == "" && len(calls) == 0 {
				return nil, false, n, errIncomplete
			}
			return calls, loose, n, nil
		}
		v, size, err := parse(rest)
		if err != nil {
			return nil, false, n, err
		}
		more, vague, ok := t.readCalls(v, marked)
		if !ok {
			return nil, false, n, errNoCall
		}
		calls, loose = append(calls, more...), loose || vague
		n = len(s) - len(rest) + size
	}
}

// readBody reads what stands between markers and is not right JSON. If closed, missing brackets are added: the model had
// said all it wanted to.
func readBody(body string, closed bool) []Call {
	if closed {
		if v, err := parseAll(body); err == nil {
			if calls, ok := readCalls(v, true); ok {
				return calls
			}
		}
	}
	for _, read := range []func(string) []Call{readXML, readDeepSeek, readPython, readPairs} {
		if calls := read(body); len(calls) > 0 {
			return calls
		}
	}
	return nil
}

// function is the form of a call whose tag names the tool. What is inside is JSON or one tag for each argument.
func function(_ *Tools, s string, final bool) match {
	closer := "</function>"
	if strings.HasPrefix(s, "<invoke") {
		closer = "</invoke>"
	}
	end := strings.Index(s, closer)
	if end < 0 {
		if !final {
			return match{wait: true}
		}
		return match{size: len(s), problem: unreadable(s)}
	}
	size := end + len(closer)
	if calls := readXML(s[:size]); len(calls) > 0 {
		return match{size: size, calls: calls}
	}
	return match{size: size, problem: unreadable(s[:size])}
}

// mistral is the form [TOOL_CALLS] [{...}, ...], or the newer one with [TOOL_CALLS]name[ARGS]{...} for each call.
func mistral(_ *Tools, s string, final bool) match {
	const opener = "[TOOL_CALLS]"
	body := strings.TrimLeft(s[len(opener):], " \t\r\n")
	start := len(s) - len(body)
	if body == "" {
		return match{wait: !final, size: len(s), problem: unreadable(s)}
	}
	if body[0] == '[' || body[0] == '{' {
		v, n, err := parse(body)
		if errors.Is(err, errIncomplete) && !final {
			return match{wait: true}
		}
		if err == nil {
			if calls, ok := readCalls(v, true); ok {
				return match{size: start + n, calls: calls}
			}
		}
		return match{size: len(s), wait: !final, problem: unreadable(body)}
	}
	name, rest, ok := strings.Cut(body, "{")
	if !ok {
		return match{size: len(s), wait: !final, problem: unreadable(body)}
	}
	v, n, err := parse("{" + rest)
	if err != nil {
		return match{size: len(s), wait: !final, problem: unreadable(body)}
	}
	name, _, _ = strings.Cut(strings.TrimSpace(name), "[") // [CALL_ID] and [ARGS]
	return match{size: start + strings.IndexByte(body, '{') + n, calls: []Call{{Name: name, Arguments: v.String()}}}
}
