package bytebot

import (
	"cmp"
	"slices"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// edits are pieces of a body that are written otherwise. They do not overlap.
type edits []edit

type edit struct {
	span
	text string
}

func (e *edits) replace(s span, text string) { *e = append(*e, edit{s, text}) }

// writer writes a new body from pieces of an old one.
type writer struct {
	body  []byte
	edits []edit
	out   []byte
}

// copy writes a piece of the old body, with the edits that lie in it and what is put in at its end.
func (w *writer) copy(s span) {
	at := s.start
	first, _ := slices.BinarySearchFunc(w.edits, s.start, func(e edit, start int) int { return cmp.Compare(e.start, start) })
	for _, e := range w.edits[first:] {
		if e.start > s.end || e.start == s.end && e.end > e.start {
			break
		}
		w.out = append(w.out, w.body[at:e.start]...)
		w.out = append(w.out, e.text...)
		at = e.end
	}
	w.out = append(w.out, w.body[at:s.end]...)
}

func (w *writer) text(s string) { w.out = append(w.out, s...) }

// rewritten returns a copy of req with another list of messages, which write writes with its brackets, and a body of its own. The
// edits apply wherever pieces of the old body are written.
func rewritten(req *llmgateway.Request, c *conversation, e edits, write func(*writer)) (*llmgateway.Request, error) {
	slices.SortFunc(e, func(a, b edit) int { return cmp.Compare(a.start, b.start) })
	// Most edits make the body smaller, and what is added is small.
	body := llmgateway.BuildBody(len(c.body)-e.saved()+spare, func(room []byte) []byte {
		w := writer{body: c.body, edits: e, out: room}
		w.copy(span{0, c.list.start})
		write(&w)
		w.copy(span{c.list.end, len(c.body)})
		return w.out
	})
	next, err := openai.Read(req.Operation, body)
	if err != nil {
		body.Release()
		return nil, err
	}
	adapted := *req
	adapted.Body, adapted.Members = body, next.Members
	return &adapted, nil
}

// spliced returns a copy of data with edits.
func spliced(data []byte, e edits) []byte {
	slices.SortFunc(e, func(a, b edit) int { return cmp.Compare(a.start, b.start) })
	w := writer{body: data, edits: e, out: make([]byte, 0, len(data)-e.saved())}
	w.copy(span{0, len(data)})
	return w.out
}

// spare is room for what repairs add.
const spare = 8 << 10

// saved returns how many bytes the edits take out.
func (e edits) saved() (n int) {
	for _, e := range e {
		n += e.end - e.start - len(e.text)
	}
	return n
}
