package openai

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// maxDepth bounds how deep values may be nested, so that hostile input cannot exhaust the stack.
const maxDepth = 512

// A syntaxError tells where JSON ends to be JSON.
type syntaxError struct {
	offset int
	want   string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("not valid JSON at byte %d: expected %s", e.offset, e.want)
}

// scanObject appends the top-level members of the JSON object in d to members, and to long, if that is not nil, where its long
// strings are.
//
// It checks the grammar but does not look into strings: it skips to their end with bytes.IndexByte, which runs at memory
// speed, so a megabyte of base64 costs microseconds.
func scanObject(d []byte, members []llmgateway.Member, long *[]llmgateway.Span) ([]llmgateway.Member, error) {
	i := skipSpace(d, 0)
	if i >= len(d) || d[i] != '{' {
		return members, &syntaxError{i, "a JSON object"}
	}
	i = skipSpace(d, i+1)
	if i < len(d) && d[i] == '}' {
		return members, endOfInput(d, i+1)
	}
	for {
		m := llmgateway.Member{Start: i}
		nameEnd, value, err := skipName(d, i)
		if err != nil {
			return members, err
		}
		m.Value = value
		if m.End, err = skipValue(d, value, 1, long); err != nil {
			return members, err
		}
		m.Name = name(d[i:nameEnd])
		members = append(members, m)
		i = skipSpace(d, m.End)
		if i >= len(d) {
			return members, &syntaxError{i, "',' or '}'"}
		}
		switch d[i] {
		case ',':
			i = skipSpace(d, i+1)
		case '}':
			return members, endOfInput(d, i+1)
		default:
			return members, &syntaxError{i, "',' or '}'"}
		}
	}
}

// checkObject reports what is wrong with the JSON object in d, by the same grammar.
func checkObject(d []byte) error {
	i := skipSpace(d, 0)
	if i >= len(d) || d[i] != '{' {
		return &syntaxError{i, "a JSON object"}
	}
	end, err := skipObject(d, i, 0, nil)
	if err != nil {
		return err
	}
	return endOfInput(d, end)
}

// skipName returns where the member name that starts at i ends, and where its value starts.
func skipName(d []byte, i int) (end, value int, err error) {
	if i >= len(d) || d[i] != '"' {
		return i, i, &syntaxError{i, "a member name"}
	}
	if end, err = skipString(d, i); err != nil {
		return i, i, err
	}
	i = skipSpace(d, end)
	if i >= len(d) || d[i] != ':' {
		return i, i, &syntaxError{i, "':'"}
	}
	return end, skipSpace(d, i+1), nil
}

func endOfInput(d []byte, i int) error {
	if i = skipSpace(d, i); i != len(d) {
		return &syntaxError{i, "the end of the body"}
	}
	return nil
}

func skipSpace(d []byte, i int) int {
	for i < len(d) && (d[i] == ' ' || d[i] == '\n' || d[i] == '\t' || d[i] == '\r') {
		i++
	}
	return i
}

// longString is from how many bytes on it is worth while to remember where a string ends.
const longString = 4 << 10

// skipValue returns the offset behind the value that starts at i. Where its long strings are goes into long, if that is not nil.
func skipValue(d []byte, i, depth int, long *[]llmgateway.Span) (int, error) {
	if i >= len(d) {
		return i, &syntaxError{i, "a value"}
	}
	switch c := d[i]; {
	case c == '"':
		end, err := skipString(d, i)
		if end-i >= longString && long != nil && err == nil {
			*long = append(*long, llmgateway.Span{Start: i, End: end})
		}
		return end, err
	case c == '{':
		return skipObject(d, i, depth, long)
	case c == '[':
		return skipArray(d, i, depth, long)
	case c == 't':
		return skipLiteral(d, i, "true")
	case c == 'f':
		return skipLiteral(d, i, "false")
	case c == 'n':
		return skipLiteral(d, i, "null")
	case c == '-' || '0' <= c && c <= '9':
		return skipNumber(d, i)
	default:
		return i, &syntaxError{i, "a value"}
	}
}

func skipString(d []byte, i int) (int, error) {
	start := i + 1
	for from := start; ; {
		n := bytes.IndexByte(d[from:], '"')
		if n < 0 {
			return len(d), &syntaxError{len(d), "the end of the string that starts at byte " + fmt.Sprint(i)}
		}
		quote := from + n
		escapes := 0
		for k := quote - 1; k >= start && d[k] == '\\'; k-- {
			escapes++
		}
		if escapes%2 == 0 {
			return quote + 1, nil
		}
		from = quote + 1
	}
}

func skipObject(d []byte, i, depth int, long *[]llmgateway.Span) (int, error) {
	if depth > maxDepth {
		return i, &syntaxError{i, fmt.Sprintf("at most %d levels", maxDepth)}
	}
	i = skipSpace(d, i+1)
	if i < len(d) && d[i] == '}' {
		return i + 1, nil
	}
	for {
		_, value, err := skipName(d, i)
		if err != nil {
			return i, err
		}
		end, err := skipValue(d, value, depth+1, long)
		if err != nil {
			return i, err
		}
		i = skipSpace(d, end)
		if i >= len(d) || d[i] != ',' && d[i] != '}' {
			return i, &syntaxError{i, "',' or '}'"}
		}
		if d[i] == '}' {
			return i + 1, nil
		}
		i = skipSpace(d, i+1)
	}
}

func skipArray(d []byte, i, depth int, long *[]llmgateway.Span) (int, error) {
	if depth > maxDepth {
		return i, &syntaxError{i, fmt.Sprintf("at most %d levels", maxDepth)}
	}
	i = skipSpace(d, i+1)
	if i < len(d) && d[i] == ']' {
		return i + 1, nil
	}
	for {
		end, err := skipValue(d, i, depth+1, long)
		if err != nil {
			return i, err
		}
		i = skipSpace(d, end)
		if i >= len(d) || d[i] != ',' && d[i] != ']' {
			return i, &syntaxError{i, "',' or ']'"}
		}
		if d[i] == ']' {
			return i + 1, nil
		}
		i = skipSpace(d, i+1)
	}
}

func skipLiteral(d []byte, i int, literal string) (int, error) {
	if len(d)-i < len(literal) || string(d[i:i+len(literal)]) != literal {
		return i, &syntaxError{i, literal}
	}
	return i + len(literal), nil
}

// skipNumber follows RFC 8259, section 6.
func skipNumber(d []byte, i int) (int, error) {
	if d[i] == '-' {
		i++
	}
	end := skipDigits(d, i)
	if end == i || d[i] == '0' && end > i+1 {
		return i, &syntaxError{i, "a number"}
	}
	i = end
	if i < len(d) && d[i] == '.' {
		if end = skipDigits(d, i+1); end == i+1 {
			return i, &syntaxError{end, "a digit"}
		}
		i = end
	}
	if i < len(d) && (d[i] == 'e' || d[i] == 'E') {
		i++
		if i < len(d) && (d[i] == '+' || d[i] == '-') {
			i++
		}
		if end = skipDigits(d, i); end == i {
			return i, &syntaxError{end, "a digit"}
		}
		i = end
	}
	return i, nil
}

func skipDigits(d []byte, i int) int {
	for i < len(d) && '0' <= d[i] && d[i] <= '9' {
		i++
	}
	return i
}

// name decodes a member's name. The names that everybody sends cost no allocation.
func name(quoted []byte) string {
	raw := quoted[1 : len(quoted)-1]
	switch string(raw) {
	case "model":
		return "model"
	case "messages":
		return "messages"
	case "stream":
		return "stream"
	case "stream_options":
		return "stream_options"
	case "provider":
		return "provider"
	case "max_tokens":
		return "max_tokens"
	case "temperature":
		return "temperature"
	case "tools":
		return "tools"
	case "tool_choice":
		return "tool_choice"
	case "id":
		return "id"
	case "object":
		return "object"
	case "created":
		return "created"
	case "choices":
		return "choices"
	case "usage":
		return "usage"
	case "system_fingerprint":
		return "system_fingerprint"
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw)
	}
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return string(raw)
	}
	return s
}
