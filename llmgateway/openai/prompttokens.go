package openai

import (
	"bytes"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/tokens"
)

const (
	perMessage = 4 // tokens that tell where a message begins and ends, and whose it is
	perAnswer  = 3 // tokens that the answer begins with
)

// PromptTokens returns about how many tokens the prompt of r has: its texts, as [tokens.Counter] estimates, tool definitions and
// calls, and images by their size in pixels. Sound and files do not count.
//
// r must come from [Read]. Everything that is text is walked once; base64 is skipped at memory speed but for the beginning of
// each image.
func PromptTokens(r *llmgateway.Request) int {
	e := promptTokens{body: r.Body, json: r.Body.Bytes}
	switch r.Operation {
	case llmgateway.Chat:
		e.tools(r)
		if m, ok := r.Lookup("messages"); ok {
			e.more += perAnswer
			eachElement(e.json, m.Value, e.message)
		}
	case llmgateway.Completion:
		e.member(r, "prompt")
	case llmgateway.Embeddings:
		e.member(r, "input")
	case llmgateway.Messages, llmgateway.Responses: // their translation is a chat
	}
	return e.take()
}

// MessageTokens returns about how many tokens each message of a chat has, and how many all else has that a model reads. Together it
// is what [PromptTokens] returns, but for rounding.
func MessageTokens(r *llmgateway.Request) (messages []int, rest int) {
	e := promptTokens{body: r.Body, json: r.Body.Bytes}
	e.tools(r)
	rest = e.take() + perAnswer
	if m, ok := r.Lookup("messages"); ok {
		eachElement(e.json, m.Value, func(message int) int {
			end := e.message(message)
			messages = append(messages, e.take())
			return end
		})
	}
	return messages, rest
}

// promptTokens is a walk over a prompt that adds up its tokens. The JSON is known to be valid.
type promptTokens struct {
	body  *llmgateway.Body
	json  []byte // the whole body
	texts tokens.Counter
	more  int // tokens of what is no text
}

// member walks a text, a list of tokens, or a list of such.
func (e *promptTokens) member(r *llmgateway.Request, name string) {
	if m, ok := r.Lookup(name); ok {
		e.input(m.Value)
	}
}

func (e *promptTokens) input(value int) (end int) {
	switch c := e.json[value]; {
	case c == '"':
		return e.text(value)
	case c == '[':
		return eachElement(e.json, value, e.input)
	case '0' <= c && c <= '9':
		e.more++
	}
	return e.skip(value)
}

// skip returns where a value ends.
func (e *promptTokens) skip(value int) (end int) {
	if end, ok := e.body.EndOfLong(value); ok {
		return end
	}
	return skip(e.json, value)
}

// take returns how many tokens there were, and begins anew.
func (e *promptTokens) take() int {
	n := e.texts.Tokens() + e.more
	e.texts, e.more = tokens.Counter{}, 0
	return n
}

// tools walks the definitions of tools.
func (e *promptTokens) tools(r *llmgateway.Request) {
	for _, list := range []string{"tools", "functions"} {
		if m, ok := r.Lookup(list); ok && filled(r.Raw(m)) {
			e.texts.Text(r.Raw(m))
		}
	}
}

// message walks a message.
func (e *promptTokens) message(message int) (end int) {
	e.more += perMessage
	return eachMember(e.json, message, func(name []byte, value int) int {
		switch string(name) {
		case "content":
			return e.content(value)
		case "name", "refusal":
			return e.text(value)
		case "tool_calls":
			return eachElement(e.json, value, func(call int) int {
				return eachMember(e.json, call, func(name []byte, value int) int {
					if string(name) == "function" {
						return e.call(value)
					}
					return e.skip(value)
				})
			})
		case "function_call":
			return e.call(value)
		}
		return e.skip(value)
	})
}

// call walks the name and the arguments of a call of a tool.
func (e *promptTokens) call(value int) (end int) {
	e.more += perMessage
	return eachMember(e.json, value, func(_ []byte, value int) int { return e.text(value) })
}

// content walks a message's content, a string or a list of parts.
func (e *promptTokens) content(value int) (end int) {
	if e.json[value] == '"' {
		return e.text(value)
	}
	return eachElement(e.json, value, func(part int) int {
		return eachMember(e.json, part, func(name []byte, value int) int {
			switch string(name) {
			case "text", "refusal":
				return e.text(value)
			case "image_url":
				return e.image(value)
			}
			return e.skip(value)
		})
	})
}

// text walks a string. What is no string has no tokens.
func (e *promptTokens) text(value int) (end int) {
	end = e.skip(value)
	if e.json[value] == '"' {
		e.texts.JSON(e.json[value+1 : end-1])
	}
	return end
}

// image walks what tells of an image: its URL, or an object with the URL and in which detail it is to be looked at.
func (e *promptTokens) image(value int) (end int) {
	var url []byte
	low := false
	if e.json[value] == '"' {
		end = e.skip(value)
		url = e.json[value+1 : end-1]
	} else {
		end = eachMember(e.json, value, func(name []byte, value int) int {
			end := e.skip(value)
			switch {
			case string(name) == "url" && e.json[value] == '"':
				url = e.json[value+1 : end-1]
			case string(name) == "detail":
				low = string(e.json[value:end]) == `"low"`
			}
			return end
		})
	}
	if low {
		e.more += tokens.LowDetail
		return end
	}
	e.more += tokens.Image(sizeOf(url))
	return end
}

// sizeOf returns the size of the image in a data: URL. Of others nothing is known.
func sizeOf(url []byte) (width, height int) {
	const longestHead = 128 // of a media type with its parameters
	if !bytes.HasPrefix(url, []byte("data:")) {
		return 0, 0
	}
	comma := bytes.IndexByte(url[:min(len(url), longestHead)], ',')
	if comma < 0 || !bytes.HasSuffix(url[:comma], []byte(";base64")) {
		return 0, 0
	}
	return tokens.ImageSize(url[comma+1:])
}
