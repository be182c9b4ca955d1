package openai

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// saidNames are the members of a delta that are text, and the one of a choice in a completion. What a client has got of
// one is compared with the same of another provider.
var saidNames = [...]string{"content", "reasoning_content", "reasoning", "text"}

// said is a text for each of saidNames.
type said [len(saidNames)]string

// Transcript is what a client has got of a stream, so that another provider can finish the answer if it breaks. One
// goroutine uses it.
//
// It follows one answer of text and reasoning. A stream that has begun a tool call, or anything else that is no text, cannot
// be finished by somebody else.
type Transcript struct {
	req  *llmgateway.Request
	said [len(saidNames)][]byte
	// unfit is true once something came that nobody else can go on with.
	unfit bool
	// same are the members of the first chunk that all chunks of a stream have in common.
	same []rawMember

	chunks   int  // with text, that the client has got
	size     int  // bytes of the chunks that the client has got
	part     part // of the provider that speaks now
	before   sum  // of those that spoke earlier
	rejoined bool // there were some

	last template // a chunk that has nothing but a text
	kind int      // which of saidNames
}

// maxTranscript bounds the stream that is kept in mind. A longer one stays broken if it breaks.
const maxTranscript = 64 << 20

// rawMember is a member's name and its value as it is written.
type rawMember struct {
	name string
	raw  []byte
}

// NewTranscript returns a Transcript of the answer to req, or nil if nobody else could finish it: it is not streamed to the
// client, or several answers or probabilities are asked for.
func NewTranscript(req *llmgateway.Request) *Transcript {
	if !req.ClientStream || req.Operation == llmgateway.Embeddings || answers(req) > 1 {
		return nil
	}
	if m, ok := req.Lookup("logprobs"); ok {
		if raw := string(req.Raw(m)); raw != "null" && raw != "false" {
			return nil
		}
	}
	return &Transcript{req: req}
}

// Follow takes in an event that is passed on to the client.
func (t *Transcript) Follow(event llmgateway.Event) {
	if !t.rejoined { // what others say, Rejoin takes in as they say it
		t.part.take(event)
	}
	if t.unfit {
		return
	}
	if t.size += len(event.Data); t.size > maxTranscript {
		t.unfit, t.said = true, [len(saidNames)][]byte{}
		return
	}
	if text, ok := t.last.text(event.Data); ok && bytes.IndexByte(text, '\\') < 0 {
		t.said[t.kind] = append(t.said[t.kind], text...)
		t.chunks++
		t.part.chunks++
		return
	}
	p := readPiece(event.Data)
	t.unfit = event.Whole || p.other || p.finished
	if t.same == nil {
		t.same = common(event.Data)
	}
	for i, text := range p.said {
		t.said[i] = append(t.said[i], text...)
	}
	if kind := p.only(); kind >= 0 {
		t.chunks++
		t.part.chunks++
		if !t.unfit {
			t.learn(event.Data, kind, p.said[kind])
		}
	}
}

// learn keeps a chunk that has but one text, so that most of those that follow need not be taken apart.
func (t *Transcript) learn(chunk []byte, kind int, text string) {
	t.kind = kind
	t.last.learn(chunk)
	if learnt, ok := t.last.text(chunk); !ok || string(learnt) != text {
		t.last = template{} // it is about another member
	}
}

// CanResume reports whether somebody else could go on from here.
func (t *Transcript) CanResume() bool {
	return !t.unfit && t.chunks > 0
}

// Continuation returns a request for what is missing, for a provider that goes on with an assistant's message at the end of
// a conversation. ok is false if there can be none: the answer has a format that it must have from its first byte, it is
// still being thought about, or the client itself has begun it.
func (t *Transcript) Continuation() (req *llmgateway.Request, ok bool) {
	content := strings.TrimRight(string(t.said[0]), whitespace)
	if t.req.Operation != llmgateway.Chat || content == "" || len(t.said[1]) > 0 || len(t.said[2]) > 0 {
		return nil, false
	}
	if m, ok := t.req.Lookup("response_format"); ok {
		if kind := gjson.GetBytes(t.req.Raw(m), "type"); kind.Exists() && kind.Str != "text" {
			return nil, false
		}
	}
	for _, name := range []string{"grammar", "json_schema"} { // llama-server's
		if _, ok := t.req.Lookup(name); ok {
			return nil, false
		}
	}
	m, ok := t.req.Lookup("messages")
	if !ok || !endsWithUser(t.req.Raw(m)) {
		return nil, false
	}
	next := *t.req
	next.Edits = append(slices.Clip(next.Edits), llmgateway.Edit{
		Name: "messages", Append: `{"role":"assistant","content":` + string(quote(content)) + `}`,
	})
	// What vLLM wants to hear, and llama-server, which would else repeat the message. Others do not know it.
	for _, e := range []llmgateway.Edit{{Name: "continue_final_message", Value: "true"}, {Name: "add_generation_prompt", Value: "false"}} {
		next.Edits = append(next.Edits, e)
		next.Additions = append(slices.Clip(next.Additions), e)
	}
	for _, name := range []string{"max_tokens", "max_completion_tokens"} {
		if m, ok := t.req.Lookup(name); ok {
			if most := gjson.ParseBytes(t.req.Raw(m)); most.Type == gjson.Number {
				left := max(1, int(most.Int())-t.chunks)
				next.Edits = append(next.Edits, llmgateway.Edit{Name: name, Value: strconv.Itoa(left)})
			}
		}
	}
	return &next, true
}

const whitespace = " \n\t\r"

// endsWithUser reports whether a list of messages has some, and the last is not the assistant's.
func endsWithUser(messages []byte) bool {
	role := ""
	eachElement(messages, 0, func(message int) int {
		return eachMember(messages, message, func(name []byte, value int) int {
			end := skip(messages, value)
			if string(name) == "role" {
				role = string(messages[value:end])
			}
			return end
		})
	})
	return role != "" && role != `"assistant"`
}

// piece is what one chunk brings.
type piece struct {
	said
	finished bool
	other    bool // it brings something that is neither text nor a role
}

// only returns the one text that a piece has, or -1.
func (p *piece) only() int {
	kind := -1
	for i, text := range p.said {
		if text != "" && kind >= 0 {
			return -1
		}
		if text != "" {
			kind = i
		}
	}
	return kind
}

func readPiece(chunk []byte) (p piece) {
	gjson.GetBytes(chunk, "choices").ForEach(func(_, choice gjson.Result) bool {
		choice.ForEach(func(name, value gjson.Result) bool {
			switch name.Str {
			case "delta":
				value.ForEach(func(name, value gjson.Result) bool {
					p.take(name.Str, value)
					return true
				})
			case "text":
				p.take(name.Str, value)
			case "finish_reason":
				p.finished = p.finished || value.Str != ""
			case "index":
				p.other = p.other || value.Int() != 0
			case "logprobs":
				p.other = p.other || !empty(value)
			}
			return true
		})
		return true
	})
	return p
}

func (p *piece) take(name string, value gjson.Result) {
	for i, known := range saidNames {
		if name == known && value.Type == gjson.String {
			p.said[i] += value.Str
			return
		}
	}
	p.other = p.other || name != "role" && !empty(value)
}

// common returns what the chunks of a stream have in common.
func common(chunk []byte) []rawMember {
	same := []rawMember{}
	members, err := scanObject(chunk, nil, nil)
	if err != nil {
		return same
	}
	for _, m := range members {
		switch m.Name {
		case "id", "created", "model", "system_fingerprint", "provider":
			same = append(same, rawMember{m.Name, bytes.Clone(chunk[m.Value:m.End])})
		}
	}
	return same
}
