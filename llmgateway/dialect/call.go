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
	r.add(r.calls[at], text)
}

// begin puts a block behind those that are open. It is told when they are complete.
func (r *Reader) begin(b *Block) {
	b.Index = r.blocks
	r.blocks++
	r.open = append(r.open, b)
	if len(r.open) == 1 {
		r.to.Begin(b)
	}
	r.advance()
}

// add adds to a block that is open. What comes for one that is complete is dropped.
func (r *Reader) add(b *Block, piece string) {
	if piece == "" || b.ended {
		return
	}
	b.text.WriteString(piece)
	if b == r.open[0] {
		r.to.Add(b, piece)
		r.advance()
	}
}

// advance ends blocks that are complete and have others behind them.
func (r *Reader) advance() {
	for len(r.open) > 1 && r.open[0].complete() {
		r.pop()
	}
}

// pop ends the first block, and begins the next.
func (r *Reader) pop() {
	r.open[0].ended = true
	r.to.End(r.open[0])
	r.open = r.open[1:]
	if len(r.open) == 0 {
		return
	}
	b := r.open[0]
	r.to.Begin(b)
	if b.text.Len() > 0 {
		r.to.Add(b, b.text.String())
	}
}

// Token returns a new id's random part.
func Token() string { return strings.ToLower(rand.Text()) }
