package dialect

import (
	"encoding/json"
	"unicode/utf8"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// Part is a piece of a message. What it is made of stays where it lies in the client's body until the chat's is written, so
// that images are copied once.
type Part struct {
	text []byte   // the inside of a JSON string, if json is nil
	json [][]byte // the pieces of a JSON object
}

// Text returns a part with what a JSON string says.
func Text(v openai.Value) Part { return Part{text: v.Inner()} }

// Plain returns a part with a text.
func Plain(s string) Part { return Part{text: inner(s)} }

// Image returns a part with an image. The pieces make up its URL; they are the insides of JSON strings. The detail may be nil.
func Image(detail openai.Value, url ...[]byte) Part {
	json := append([][]byte{[]byte(`{"type":"image_url","image_url":{"url":"`)}, url...)
	if detail.IsString() {
		return Part{json: append(json, []byte(`","detail":`), detail, []byte(`}}`))}
	}
	return Part{json: append(json, []byte(`"}}`))}
}

// File returns a part with a file. The pieces make up a data: URL; they are the insides of JSON strings.
func File(name openai.Value, url ...[]byte) Part {
	if !name.IsString() {
		name = openai.Value(`"file"`)
	}
	json := [][]byte{[]byte(`{"type":"file","file":{"filename":`), name, []byte(`,"file_data":"`)}
	return Part{json: append(append(json, url...), []byte(`"}}`))}
}

// Raw returns a part that is a content part of chat completions already.
func Raw(v openai.Value) Part { return Part{json: [][]byte{v}} }

// appendTo appends the part as an element of a list.
func (p Part) appendTo(b []byte) []byte {
	if p.json == nil {
		b = append(b, `{"type":"text","text":"`...)
		return append(append(b, p.text...), `"}`...)
	}
	for _, piece := range p.json {
		b = append(b, piece...)
	}
	return b
}

// inner returns the inside of the JSON string that says s.
func inner(s string) []byte {
	quoted := Quote(s)
	return quoted[1 : len(quoted)-1]
}

// Quote returns the JSON string that says s.
func Quote(s string) []byte { return AppendQuoted(nil, s) }

// AppendQuoted appends the JSON string that says s. What is not UTF-8 is replaced.
func AppendQuoted[text string | []byte](b []byte, s text) []byte {
	const hex = "0123456789abcdef"
	if !utf8.ValidString(string(s)) {
		valid, _ := json.Marshal(string(s)) // strings always marshal
		return append(b, valid...)
	}
	b = append(b, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\t':
			b = append(b, '\\', 't')
		case '\r':
			b = append(b, '\\', 'r')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(b, s[from:]...), '"')
}
