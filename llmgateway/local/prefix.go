package local

import (
	"bytes"
	"hash/crc32"
	"math/bits"
	"sort"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// chain is a prompt as the prefixes it has: each link stands for everything up to the end of one message. Two prompts
// have as many messages in common, from the beginning, as their chains have equal links. It is a guess at what
// llama-server, which compares tokens, will find in its cache; a wrong guess costs time and no more.
type chain struct {
	Links []link `json:"links"`
	// Opening is how many links tell one conversation from another: up to the first message that is not the system's.
	// What is before it may be the same for all of an agent's conversations.
	Opening int `json:"opening"`
}

type link struct {
	Hash   uint64 `json:"hash"`             // of everything up to here
	Size   size   `json:"size"`             // of everything up to here
	Answer bool   `json:"answer,omitempty"` // the message is one of the model's own
}

// size is what can be told of a prompt's length without a tokenizer.
type size struct {
	Text   int `json:"text"`             // bytes, without those of media
	Images int `json:"images,omitempty"` // pictures and sounds
}

func (s size) minus(o size) size { return size{s.Text - o.Text, s.Images - o.Images} }

// weight puts a size into one number for comparing. An image costs about as much as some pages of text.
func (s size) weight() int { return s.Text + 4096*s.Images }

// castagnoli is computed by the processor itself, at memory speed, and means the same tomorrow, when a saved prompt is
// looked for. Its 32 bits are enough for a guess.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// blockSize is how much of a plain prompt is one link.
const blockSize = 512

// newChain returns the chain of a request, or an empty one if it has no single prompt.
func newChain(req *llmgateway.Request) chain {
	c := chain{Links: make([]link, 0, 32)}
	var prompt []byte
	var last link // what is put before the messages counts as one
	for _, m := range req.Members {
		switch m.Name {
		case "tools", "functions", "chat_template_kwargs", "reasoning_effort":
			last = last.add(req.Raw(m), size{Text: m.End - m.Value})
		case "messages", "prompt":
			prompt = req.Raw(m)
		}
	}
	switch {
	case req.Operation == llmgateway.Chat && len(prompt) > 0 && prompt[0] == '[':
		c.Links = append(c.Links, last)
		c.addMessages(prompt[1:])
	case req.Operation == llmgateway.Completion && len(prompt) > 0 && prompt[0] == '"':
		c.Links = append(c.Links, last)
		c.addText(prompt[1 : len(prompt)-1])
	}
	if c.Opening == 0 {
		c.Opening = len(c.Links)
	}
	return c
}

// add returns the link behind l for a further part of the prompt.
func (l link) add(part []byte, s size) link {
	sum := uint64(crc32.Checksum(part, castagnoli))<<32 | uint64(uint32(len(part)))
	high, low := bits.Mul64(l.Hash^0x9e3779b97f4a7c15, sum|1)
	return link{Hash: high ^ low ^ l.Hash<<1, Size: size{l.Size.Text + s.Text, l.Size.Images + s.Images}}
}

func (c *chain) last() link {
	if len(c.Links) == 0 {
		return link{}
	}
	return c.Links[len(c.Links)-1]
}

// size returns the size of the whole prompt.
func (c *chain) size() size { return c.last().Size }

// addText adds a prompt without messages. What goes on for at least half of its length is taken for the same text.
func (c *chain) addText(text []byte) {
	for len(text) > 0 {
		block := text[:min(len(text), blockSize)]
		text = text[len(block):]
		c.Links = append(c.Links, c.last().add(block, size{Text: len(block)}))
	}
	c.Opening = 1 + len(c.Links)/2
}

// addMessages adds the elements of a list, from behind its bracket. It is valid JSON. Strings are skipped at memory
// speed, so that megabytes of screenshots cost little more than their hash.
func (c *chain) addMessages(d []byte) {
	depth, start := 0, 0
	var name, role []byte // of the member whose value comes next; of this message
	var media size        // of this message
	for i := 0; i < len(d); i++ {
		switch d[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				s := size{Text: i + 1 - start - media.Text, Images: media.Images}
				c.addMessage(d[start:i+1], s, role)
				role, media = nil, size{}
			} else if depth < 0 {
				return
			}
		case ',':
			if depth == 0 {
				start = i + 1
			}
		case '"':
			end := i + 1 + endOfString(d[i+1:])
			if end <= i {
				return
			}
			text := d[i+1 : end]
			i = end
			switch {
			case isName(d[end+1:]):
				name = text
			case depth == 1 && string(name) == "role":
				role = text
			case string(name) == "url" && bytes.HasPrefix(text, []byte("data:")), string(name) == "data":
				media.Text += len(text)
				media.Images++
			}
		}
	}
}

// isName reports whether the string before d is a member's name.
func isName(d []byte) bool {
	d = bytes.TrimLeft(d[:min(len(d), 16)], " \t\r\n")
	return len(d) > 0 && d[0] == ':'
}

func (c *chain) addMessage(message []byte, s size, role []byte) {
	next := c.last().add(bytes.TrimLeft(message, " \t\r\n"), s)
	next.Answer = string(role) == "assistant"
	c.Links = append(c.Links, next)
	if c.Opening == 0 && string(role) != "system" && string(role) != "developer" {
		c.Opening = len(c.Links)
	}
}

// shared returns how many links two chains have in common.
func (c *chain) shared(o *chain) int {
	// A link stands for all before it, so the first that differs can be searched for.
	return sort.Search(min(len(c.Links), len(o.Links)), func(i int) bool { return c.Links[i].Hash != o.Links[i].Hash })
}

// cut returns the chain of the first n links.
func (c *chain) cut(n int) chain { return chain{Links: c.Links[:n], Opening: c.Opening} }

// continues reports whether c goes on with the conversation of an earlier prompt, of which it shares the given number of
// Links: it is not only the system's messages that they share, and most of the earlier prompt is of use.
func (c *chain) continues(earlier *chain, shared int) bool {
	if shared == 0 || earlier.Opening == 0 || shared < min(earlier.Opening, len(earlier.Links)) {
		return false
	}
	return 2*earlier.Links[shared-1].Size.weight() >= earlier.size().weight()
}

// beyond returns how much of c is new to a slot that holds an earlier prompt, of which c shares the given number of
// links, and the answer to it.
func (c *chain) beyond(earlier *chain, shared int) size {
	if shared == 0 {
		return c.size()
	}
	if shared == len(earlier.Links) && shared < len(c.Links) && c.Links[shared].Answer {
		shared++
	}
	return c.size().minus(c.Links[shared-1].Size)
}
