package openai

import (
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Needs returns what a model must be able to do to answer r, as far as the request shows: images and sound in any message,
// tools that it may call, a schema for the answer, embeddings.
//
// r must come from [Read], which has checked its grammar. The messages are walked once more; base64 is skipped at memory
// speed.
func Needs(r *llmgateway.Request) llmgateway.Capabilities {
	if r.Operation == llmgateway.Embeddings {
		return llmgateway.CanEmbed
	}
	var needs llmgateway.Capabilities
	if offers(r, "tools", "tool_choice") || offers(r, "functions", "function_call") {
		needs |= llmgateway.CanCallTools
	}
	if m, ok := r.Lookup("response_format"); ok {
		format := r.Raw(m)
		eachMember(format, 0, func(name []byte, value int) int {
			end := skip(format, value)
			if string(name) == "type" && string(format[value:end]) == `"json_schema"` {
				needs |= llmgateway.CanFollowSchema
			}
			return end
		})
	}
	if m, ok := r.Lookup("messages"); ok {
		p := prompt{json: r.Raw(m)}
		p.messages()
		needs |= p.needs
	}
	return needs
}

// offers reports whether a list has something in it that the model is free to choose.
func offers(r *llmgateway.Request, list, choice string) bool {
	m, ok := r.Lookup(list)
	if !ok || !filled(r.Raw(m)) {
		return false
	}
	m, ok = r.Lookup(choice)
	return !ok || string(r.Raw(m)) != `"none"`
}

// MinTokens returns a number of tokens that the prompt of r certainly has, with any tokenizer. It is far below the true
// number: a prompt that has more than a model's context cannot fit, one that has less may or may not.
//
// Tokens do not go from one word into the next, but for those of a few experimental tokenizers, which span some words;
// and in the vocabularies of today's models the longest are 128 bytes, of spaces or of repeated signs. So there is at least
// one token for every two words, and one for every 256 bytes. An assistant's messages do not count, as templates leave out
// what it once thought, nor do images and tools, whose tokens are each model's own. A request whose provider is to cut it,
// and embeddings, which some providers cut anyway, have no certain number: 0.
func MinTokens(r *llmgateway.Request) int {
	for _, cut := range []string{"truncate_prompt_tokens", "transforms", "plugins"} { // vLLM's, and OpenRouter's
		if _, ok := r.Lookup(cut); ok {
			return 0
		}
	}
	name := "messages"
	switch r.Operation {
	case llmgateway.Chat:
	case llmgateway.Completion:
		name = "prompt"
	case llmgateway.Embeddings, llmgateway.Messages, llmgateway.Responses: // the latter are measured by their translation
		return 0
	}
	m, ok := r.Lookup(name)
	if !ok {
		return 0
	}
	p := prompt{json: r.Raw(m), counting: true}
	if r.Operation == llmgateway.Chat {
		p.messages()
		return p.seen.tokens()
	}
	least, _ := p.longest(0, false)
	return least
}

// MaxMinTokens is the most that [MinTokens] can return for a body of so many bytes. Where that is not too much, it need not be
// asked.
func MaxMinTokens(size int) int { return size / 2 }

// prompt is a walk over what the model is to read. The JSON is known to be valid.
type prompt struct {
	json     []byte
	counting bool
	seen     amount
	needs    llmgateway.Capabilities
}

// messages walks the list of messages.
func (p *prompt) messages() {
	eachElement(p.json, 0, func(message int) int {
		before := p.seen
		assistant := false
		end := eachMember(p.json, message, func(name []byte, value int) int {
			switch string(name) {
			case "content":
				return p.content(value)
			case "role":
				end := skip(p.json, value)
				assistant = string(p.json[value:end]) == `"assistant"`
				return end
			}
			return skip(p.json, value)
		})
		if assistant {
			p.seen = before
		}
		return end
	})
}

// content walks a message's content, a string or a list of parts.
func (p *prompt) content(value int) (end int) {
	if p.json[value] == '"' {
		return p.read(value)
	}
	return eachElement(p.json, value, func(part int) int {
		return eachMember(p.json, part, func(name []byte, value int) int {
			switch string(name) {
			case "text":
				return p.read(value)
			case "image_url":
				p.needs |= llmgateway.CanSee
			case "type":
				end := skip(p.json, value)
				p.needs |= needsOfPart(p.json[value:end])
				return end
			}
			return skip(p.json, value)
		})
	})
}

func needsOfPart(quotedType []byte) llmgateway.Capabilities {
	switch string(quotedType) {
	case `"image_url"`, `"input_image"`, `"image"`:
		return llmgateway.CanSee
	case `"input_audio"`:
		return llmgateway.CanHear
	}
	return 0
}

// read walks a text.
func (p *prompt) read(value int) (end int) {
	end = skip(p.json, value)
	if p.counting && p.json[value] == '"' {
		p.seen.add(p.json[value+1 : end-1])
	}
	return end
}

// longest walks a completion's prompt: a text, a list of tokens, or a list of such prompts, of which the longest counts.
// It returns the least number of tokens, and where the value ends.
func (p *prompt) longest(value int, list bool) (least, end int) {
	switch {
	case p.json[value] == '"':
		p.seen = amount{}
		end = p.read(value)
		return p.seen.tokens(), end
	case p.json[value] != '[':
		return 0, skip(p.json, value)
	}
	numbers := 0
	end = eachElement(p.json, value, func(element int) int {
		tokens := 0
		switch c := p.json[element]; {
		case c == '"' || c == '[' && !list:
			tokens, element = p.longest(element, true)
		default:
			element = skip(p.json, element)
			numbers++
		}
		least = max(least, tokens)
		return element
	})
	return max(least, numbers), end
}

// amount is how much there was to read.
type amount struct{ words, bytes int }

func (a amount) tokens() int { return max(a.words/2, a.bytes/256) }

// add counts the inside of a JSON string. A word is what begins with a letter or digit of ASCII behind white space.
func (a *amount) add(s []byte) {
	inside := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' && i+1 < len(s) {
			i++
			if s[i] == 'n' || s[i] == 'r' || s[i] == 't' {
				c = ' '
			}
		}
		a.bytes++
		if c > ' ' && !inside && isAlphanumeric(c) {
			a.words++
		}
		inside = c > ' '
	}
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// skip returns the offset behind the value at i of valid JSON.
func skip(d []byte, i int) (end int) {
	end, _ = skipValue(d, i, 0, nil)
	return end
}

// eachElement calls each for the elements of the list at i of valid JSON, with where the element starts, and returns where
// the list ends. each returns where the element ends. Another value has no elements.
func eachElement(d []byte, i int, each func(element int) (end int)) (end int) {
	if d[i] != '[' {
		return skip(d, i)
	}
	i = skipSpace(d, i+1)
	for d[i] != ']' {
		if i = skipSpace(d, each(i)); d[i] == ',' {
			i = skipSpace(d, i+1)
		}
	}
	return i + 1
}

// eachMember does for the members of an object what eachElement does for a list.
func eachMember(d []byte, i int, each func(name []byte, value int) (end int)) (end int) {
	if d[i] != '{' {
		return skip(d, i)
	}
	i = skipSpace(d, i+1)
	for d[i] != '}' {
		nameEnd, value, _ := skipName(d, i)
		if i = skipSpace(d, each(d[i+1:nameEnd-1], value)); d[i] == ',' {
			i = skipSpace(d, i+1)
		}
	}
	return i + 1
}
