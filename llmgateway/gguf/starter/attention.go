package starter

import "fmt"

// Each block has four heads, and each head asks one question about the prompt. A head looks at all tokens up to the
// current one; what it takes from each is weighed by the exponential of a score. The scores here are so far apart that it
// looks at the one kind of token it was made for, or, if there is none, at all alike, which have nothing to give.
const (
	heads  = 4
	size   = 64 // of a head's queries, keys and values
	scaled = 8  // llama.cpp divides scores by the square root of size
)

// The query of every token is the same number in these dimensions. Two, far enough apart that a quantized KV cache,
// which stores 32 numbers with one scale, keeps both exactly.
const (
	byKind = 0  // what the token is
	byTurn = 32 // in which turn it is
	query  = 64
)

const (
	// never is added to the score of tokens that a head does not look for. It outweighs all that follows.
	never = -3600
	// earlier is what the first turn loses against a far later one. It decides between two tokens that are looked for.
	earlier = -3000
	// step puts one kind before another within a turn, even when there are a dozen of the other.
	step = -6
	// memory is the logarithm, in half precision, of the number of turns after which dimension turn is halved: 32. Turn n,
	// counted from 0, has 32 / (32 + n), so that a step between kinds outweighs a turn only after some thirty turns.
	memory = 3.46875
)

// block is the attention of one layer. Its feed-forward part is zero.
type block struct {
	query, key, value, output matrix
}

func newBlock() block {
	return block{
		query:  newMatrix(width, heads*size),
		key:    newMatrix(width, heads*size),
		value:  newMatrix(width, heads*size),
		output: newMatrix(heads*size, width),
	}
}

// head is one head of a block.
type head struct {
	block
	first int // its first row
	next  int // its next free value
}

func (b block) head(n int) *head {
	h := &head{block: b, first: n * size}
	b.query.add(h.first+byKind, one, query)
	b.query.add(h.first+byTurn, one, query)
	return h
}

// score adds to the score of tokens that have a one in dim.
func (h *head) score(row, dim int, points float32) {
	h.key.add(h.first+row, dim, points*scaled/query)
}

// only keeps the head from looking at tokens without a score of their own.
func (h *head) only() { h.score(byKind, one, never) }

// latest makes the head prefer later turns, or later images: what order counts. It needs what the block below found out.
func (h *head) latest(order int) { h.score(byTurn, order, earlier) }

// seek makes the head look at a token, with a rank among the kinds it looks at.
func (h *head) seek(dim int, rank float32) { h.score(byKind, dim, rank*step-never) }

// carry writes the share of attention that the tokens of dimension from got to dimension to.
func (h *head) carry(to int, from ...int) error {
	if h.next == size {
		return fmt.Errorf("a head has no more than %d values", size)
	}
	for _, dim := range from {
		h.value.add(h.first+h.next, dim, 1)
	}
	h.output.add(to, h.first+h.next, written)
	h.next++
	return nil
}
