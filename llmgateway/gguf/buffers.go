package gguf

import (
	"slices"
	"strings"
)

// compute returns the size of the buffers for what is between the weights. llama.cpp reuses them from block to block, so
// what counts is the widest place, for as many tokens as are computed at once. Which tensors live at the same time was read
// off what llama-server prints for many shapes.
func (i Info) compute(l Load) uint64 {
	const float, half = 4, 2
	tokens := uint64(l.UBatch)
	slots := uint64(l.Slots)
	s := i.layers
	width := i.EmbeddingLength

	dense := s.feedForward
	chosen := product(s.expertsUsed, max(s.expertFeedForward, 1))
	if s.expertFeedForward == 0 {
		chosen = product(s.expertsUsed, dense)
	}
	if s.expertsUsed > 0 && s.expertFeedForward == 0 {
		dense = 0
	}
	queries := product(i.mostHeads(), i.KeyLength)
	results := product(i.mostHeads(), i.ValueLength)
	inward := sum(product(2, s.inner), product(2, s.groups, s.state), s.steps)

	places := []uint64{
		// The gate, what it opens, what comes through; the block's input and what becomes of it.
		sum(product(3, dense), product(5, width)),
		sum(chosen, max(product(2, chosen), product(s.expertsUsed, width)), product(5, width)),
		// Queries, what they find, and that once more in another order; a token's own key and value.
		sum(queries, product(2, results), product(2, largest(i.HeadCountKV), sum(i.KeyLength, i.ValueLength)), product(2, width)),
		sum(product(3, inward), product(2, width)),
	}
	if s.shortConvolution != 0 || s.headRWKV != 0 {
		places = append(places, product(10, width))
	}
	logits := i.VocabSize
	if strings.Contains(i.Architecture, "bert") {
		logits = 0 // it has no output matrix
	}
	if l.Embeddings {
		places = append(places, sum(logits, product(2, width)))
	}
	n := product(float, tokens, slices.Max(places))

	// Which token may look at which.
	mask := uint64(half)
	if l.NoFlashAttn {
		mask = float
	}
	cells := l.cells()
	if slices.Contains(uncached, i.Architecture) {
		cells = tokens
	}
	if !slices.Contains(stateOnly, i.Architecture) {
		n = sum(n, product(mask, tokens, cells))
		if i.reach() != 0 {
			n = sum(n, product(mask, tokens, i.windowCells(l)))
		}
		if l.NoFlashAttn {
			// All scores, and again while they are turned into another type to multiply them.
			n = sum(n, product(float+half, tokens, cells, i.mostHeads()))
		}
	}
	// What a matrix is multiplied with, turned into another type; the logits; the states, before and after.
	return sum(
		n,
		product(half, tokens, max(dense, chosen, queries, s.inner, width)),
		product(float, slots, logits),
		product(2, slots, i.largestState()),
	)
}

func (i Info) largestState() uint64 {
	for block := range min(i.BlockCount, maxBlocks) {
		if i.recurs(block) {
			return i.stateBytes()
		}
	}
	return 0
}

func (i Info) mostHeads() uint64 { return largest(i.HeadCount) }

// output returns the size of what llama-server keeps of the last block's output.
func (i Info) output(l Load) uint64 {
	const float = 4
	if l.Embeddings {
		return product(float, uint64(l.Batch), sum(i.VocabSize, i.EmbeddingLength))
	}
	return product(float, uint64(l.Slots), i.VocabSize)
}
