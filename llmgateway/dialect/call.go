package dialect

import (
	"cmp"
	"crypto/rand"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// call takes in a call, or a piece of one.
func (r *Reader) call(piece gjson.Result) {
	called := piece.Get("function")
	arguments := called.Get("arguments")
	if !called.Exists() {
		called = piece.Get("custom")
		arguments = called.Get("input")
	}
	text := arguments.String()
	if arguments.IsObject() { // some servers forget that it is a string
		text = arguments.Raw
	}
	ref := openai.CallRef{Index: piece.Get("index").Raw, ID: piece.Get("id").String(), Name: called.Get("name").String()}
	at := openai.PlaceCall(r.refs, ref)
	if at < 0 {
		at = len(r.calls)
		b := &Block{Kind: Called, ID: cmp.Or(ref.ID, "call_"+Token()), Name: ref.Name}
		r.calls, r.refs = append(r.calls, b), append(r.refs, ref)
		r.Facts.Calls = true
		r.begin(b)
	}
	b := r.calls[at]
	if b.Name == "" && ref.Name != "" {
		b.Name = ref.Name // it came late, which is why the call has not been told yet
		r.tell()
	}
	r.add(b, text)
}

// begin puts a block behind those that are open. It is told when they are complete.
func (r *Reader) begin(b *Block) {
	b.Index = r.blocks
	r.blocks++
	r.open = append(r.open, b)
	r.tell()
	r.advance()
}

// tell tells what is known of the first block and has not been told. A call without a name waits for it.
func (r *Reader) tell() {
	if len(r.open) == 0 || r.open[0].Kind == Called && r.open[0].Name == "" {
		return
	}
	b := r.open[0]
	if !b.begun {
		b.begun = true
		r.to.Begin(b)
	}
	if text := b.text.String(); len(text) > b.told {
		r.to.Add(b, text[b.told:])
		b.told = len(text)
	}
}

// add adds to a block that is open. What comes for one that is complete is dropped.
func (r *Reader) add(b *Block, piece string) {
	if piece == "" || b.ended {
		return
	}
	b.text.WriteString(piece)
	if b == r.open[0] {
		r.tell()
		r.advance()
	}
}

// advance ends blocks that are complete and have others behind them.
func (r *Reader) advance() {
	for len(r.open) > 1 && r.open[0].complete() {
		r.pop()
	}
}

// pop ends the first block, and tells of the next.
func (r *Reader) pop() {
	b := r.open[0]
	if b.Kind == Called && b.Name == "" {
		b.Name = "unknown"
		r.tell()
	}
	b.ended = true
	r.to.End(b)
	r.open = r.open[1:]
	r.tell()
}

// Token returns a new id's random part.
func Token() string { return strings.ToLower(rand.Text()) }
