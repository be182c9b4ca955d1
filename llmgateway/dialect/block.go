package dialect

import (
	"cmp"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// Kind is what a block is.
type Kind int

const (
	// Thought is reasoning.
	Thought Kind = iota + 1
	// Said is text.
	Said
	// Refused is why the model does not answer.
	Refused
	// Called is a call of a tool.
	Called
)

// Block is a part of an answer: what was thought, said, or called in one go.
type Block struct {
	Kind Kind
	// Index counts the blocks of an answer.
	Index int
	// ID and Name are a call's.
	ID, Name string

	text         strings.Builder
	begun, ended bool // the listener knows
	told         int  // how much of the text the listener knows
}

// Text is what was thought or said, or a call's arguments, as far as they have come.
func (b *Block) Text() string { return b.text.String() }

// complete reports whether nothing can follow in the block: arguments that are a whole object are.
func (b *Block) complete() bool {
	if b.Kind != Called {
		return true
	}
	_, err := openai.ParseObject([]byte(b.text.String()))
	return err == nil
}

// A Listener is told of an answer's blocks one after the other. A block's text comes in pieces.
type Listener interface {
	Begin(b *Block)
	Add(b *Block, piece string)
	End(b *Block)
}

// Facts is what an answer says beside its blocks.
type Facts struct {
	ID, Model string
	Created   int64
	// FinishReason is chat's, or empty if the answer has not ended.
	FinishReason string
	// StopSequence is the sequence that ended the answer, for servers that tell.
	StopSequence string
	// Calls is true if a tool was called.
	Calls bool
}

// Reader takes a chat's answer apart, be it whole or in chunks. Blocks are told one after the other, whatever the order of
// their pieces: those of a later block wait until the earlier one is complete.
type Reader struct {
	Facts Facts

	to     Listener
	open   []*Block // the first has begun, the others wait
	calls  []*Block
	refs   []openai.CallRef // of calls
	blocks int
	known  bool // who answers
}

// NewReader returns a Reader that tells to of the blocks.
func NewReader(to Listener) *Reader { return &Reader{to: to} }

// Chunk takes in a chunk of a stream.
func (r *Reader) Chunk(data []byte) { r.read(gjson.ParseBytes(data), "delta") }

// Whole takes in a whole answer, and ends it.
func (r *Reader) Whole(data []byte) {
	r.read(gjson.ParseBytes(data), "message")
	r.End()
}

// End ends the answer: what waits is told.
func (r *Reader) End() {
	for len(r.open) > 0 {
		r.pop()
	}
}

// About takes in what a chunk says of the whole answer, ahead of its blocks.
func (r *Reader) About(data []byte) { r.about(gjson.ParseBytes(data)) }

func (r *Reader) about(answer gjson.Result) {
	r.Facts.ID = cmp.Or(r.Facts.ID, answer.Get("id").String())
	r.Facts.Model = cmp.Or(r.Facts.Model, answer.Get("model").String())
	r.Facts.Created = cmp.Or(r.Facts.Created, answer.Get("created").Int())
}

func (r *Reader) read(answer gjson.Result, member string) {
	if !r.known {
		r.about(answer)
		r.known = true
	}
	answer.Get("choices").ForEach(func(_, choice gjson.Result) bool {
		if choice.Get("index").Int() == 0 {
			r.choice(choice, choice.Get(member))
		}
		return true
	})
}

func (r *Reader) choice(choice, message gjson.Result) {
	thought := message.Get("reasoning_content")
	if thought.Type != gjson.String {
		thought = message.Get("reasoning") // OpenRouter's and vLLM's name
	}
	r.text(Thought, thought)
	r.content(message.Get("content"))
	r.text(Refused, message.Get("refusal"))
	message.Get("tool_calls").ForEach(func(_, call gjson.Result) bool {
		if call.IsObject() { // null is walked too
			r.call(call)
		}
		return true
	})
	if reason := choice.Get("finish_reason"); reason.Type == gjson.String {
		r.Facts.FinishReason = reason.Str
	}
	for _, name := range []string{"stop_reason", "matched_stop"} { // vLLM's and SGLang's
		if sequence := choice.Get(name); sequence.Type == gjson.String {
			r.Facts.StopSequence = sequence.Str
		}
	}
}

// content takes in a text, or a list of parts as some servers send it.
func (r *Reader) content(content gjson.Result) {
	if !content.IsArray() {
		r.text(Said, content)
		return
	}
	content.ForEach(func(_, part gjson.Result) bool {
		r.text(Said, part.Get("text"))
		thinking := part.Get("thinking")
		if thinking.IsArray() {
			thinking = thinking.Get("0.text")
		}
		r.text(Thought, thinking)
		return true
	})
}

// text adds to the last block if it is of the kind, and to a new one otherwise.
func (r *Reader) text(kind Kind, piece gjson.Result) {
	if piece.Type != gjson.String || piece.Str == "" {
		return
	}
	if n := len(r.open); n == 0 || r.open[n-1].Kind != kind {
		r.begin(&Block{Kind: kind})
	}
	r.add(r.open[len(r.open)-1], piece.Str)
}
