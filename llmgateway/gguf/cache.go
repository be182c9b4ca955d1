package gguf

import (
	"math"
	"slices"
	"strings"
)

// maxBlocks bounds what is looked at one by one. llama.cpp refuses more than 512.
const maxBlocks = 1 << 10

// window is how an architecture mixes blocks that look back a little with blocks that look at everything.
type window struct {
	// Of each period of blocks the last one looks at everything, or the first one.
	period uint64
	first  bool
	// reach is how far they look where the header does not say.
	reach uint64
}

// windowed are the architectures for which llama.cpp heeds a window: models/*.cpp. Those that always say which blocks have
// one have no period.
var windowed = map[string]window{
	"afmoe": {period: 4}, "cohere2": {period: 4}, "cohere2moe": {period: 4, first: true}, "exaone-moe": {period: 4, reach: 128},
	"gemma2": {period: 2, reach: 4096}, "gemma3": {period: 6}, "gemma3n": {period: 5}, "gemma4": {}, "gpt-oss": {period: 2},
	"granite-swa": {}, "laguna": {period: 4, first: true}, "llama4": {period: 4, reach: 8192}, "maple": {}, "mellum": {period: 4},
	"mimo2": {}, "muse-glimmer": {period: 4}, "olmo2": {period: 4}, "plamo3": {period: 8}, "smallthinker": {period: 4, first: true},
	"step35": {}, "lfm2": {period: math.MaxUint64},
}

// uncached are the architectures that see all of their input at once.
var uncached = []string{
	"bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "eurobert", "gemma-embedding",
	"dream", "llada", "llada-moe", "rnd1",
}

// stateOnly are the architectures without attention.
var stateOnly = []string{"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"}

// reach returns how far the blocks with a window look back, and 0 if there are none.
func (i Info) reach() uint64 {
	w, ok := windowed[i.Architecture]
	switch {
	case !ok:
		return 0
	case i.SlidingWindow == 0:
		return w.reach
	default:
		return i.SlidingWindow
	}
}

// hasWindow reports whether a block looks back only a little.
func (i Info) hasWindow(block uint64) bool {
	if i.reach() == 0 {
		return false
	}
	w := windowed[i.Architecture]
	if n := len(i.layers.windows); n > 1 {
		return i.layers.windows.At(int(block)) != 0
	} else if n == 1 {
		w.period = i.layers.windows[0]
	}
	switch {
	case w.period == 0:
		return len(i.layers.windows) == 1
	case w.first:
		return block%w.period != 0
	default:
		return block%w.period != w.period-1
	}
}

// attends and recurs report how a block remembers: all that was said, or a state of a fixed size, or both.
func (i Info) attends(block uint64) bool {
	last := i.BlockCount - min(i.BlockCount, i.layers.sharedKV)
	if i.Architecture == "gemma3n" {
		last = 20
	}
	if block >= last || slices.Contains(uncached, i.Architecture) || slices.Contains(stateOnly, i.Architecture) {
		return false
	}
	return i.HeadCountKV.At(int(block)) != 0 && (i.layers.inner == 0 || i.Architecture == "falcon-h1" || !i.recurs(block))
}

func (i Info) recurs(block uint64) bool {
	switch {
	case slices.Contains(stateOnly, i.Architecture), i.Architecture == "falcon-h1":
		return true
	case i.layers.inner == 0 && i.layers.shortConvolution == 0 && i.layers.headKDA == 0:
		return false
	case len(i.layers.recurrent) > 0:
		return i.layers.recurrent.At(int(block)) != 0
	case strings.HasPrefix(i.Architecture, "qwen"):
		interval := i.layers.interval
		if interval == 0 {
			interval = 4
		}
		return (block+1)%interval != 0
	default:
		return i.HeadCountKV.At(int(block)) == 0
	}
}

// perToken is what one block caches of one token.
func (i Info) perToken(block uint64, l Load) uint64 {
	key, value := i.KeyLength, i.ValueLength
	if i.hasWindow(block) {
		if n := i.layers.keyLengthWindow; n != 0 {
			key = n
		}
		if n := i.layers.valueLengthWindow; n != 0 {
			value = n
		}
	}
	heads := i.HeadCountKV.At(int(block))
	n := cacheBytes(l.TypeK, product(heads, key))
	if !i.layers.compressed {
		n = sum(n, cacheBytes(l.TypeV, product(heads, value)))
	}
	return n
}

// cacheBytes returns what a row of numbers takes in a type of the cache.
func cacheBytes(name string, numbers uint64) uint64 {
	layout := layouts[F16]
	for _, known := range layouts {
		if strings.EqualFold(known.name, name) {
			layout = known
		}
	}
	return product(sum(numbers, layout.elements-1)/layout.elements, layout.bytes)
}

// stateBytes is the state of one recurrent block, for one slot.
func (i Info) stateBytes() uint64 {
	const float = 4
	s := i.layers
	head := i.HeadCount.At(0)
	switch {
	case s.headRWKV != 0:
		return product(float, i.EmbeddingLength, sum(s.shifts, s.headRWKV))
	case s.shortConvolution != 0:
		return product(float, i.EmbeddingLength, s.shortConvolution-1)
	case s.headKDA != 0:
		return product(float, head, s.headKDA, sum(product(3, max(s.convolution, 4)-1), s.headKDA))
	default:
		mixed := sum(s.inner, product(2, s.groups, s.state))
		return product(float, sum(product(max(s.convolution, 1)-1, mixed), product(s.state, s.inner)))
	}
}

// windowCells is how many tokens blocks with a window cache for one slot.
func (i Info) windowCells(l Load) uint64 {
	if l.FullWindow {
		return l.cells()
	}
	return align(min(l.cells(), sum(i.reach(), uint64(l.UBatch))), 256)
}

// cache returns the size of the KV cache and of the recurrent states, of all slots.
func (i Info) cache(l Load) uint64 {
	n := i.eachBlock(func(block uint64) uint64 {
		var n uint64
		if i.attends(block) {
			cells := l.cells()
			if i.hasWindow(block) {
				cells = i.windowCells(l)
			}
			n = product(cells, i.perToken(block, l))
		}
		if i.recurs(block) {
			n = sum(n, i.stateBytes())
		}
		return n
	})
	n = product(n, uint64(l.Slots))
	if l.GPULayers > 0 {
		left := i.BlockCount - min(i.BlockCount, uint64(l.GPULayers))
		n = product(n/max(i.BlockCount, 1), left)
	}
	return n
}

// checkpoint returns the size of what a slot keeps to be able to go back: what blocks cache that cannot drop the last
// tokens again.
func (i Info) checkpoint(l Load) uint64 {
	return i.eachBlock(func(block uint64) uint64 {
		var n uint64
		if i.attends(block) && i.hasWindow(block) && !l.FullWindow {
			n = product(min(i.reach(), l.cells()), i.perToken(block, l))
		}
		if i.recurs(block) {
			n = sum(n, i.stateBytes())
		}
		return n
	})
}

// eachBlock adds up what all blocks have. A header that claims more of them than there can be gets as much as it claims.
func (i Info) eachBlock(f func(block uint64) uint64) uint64 {
	blocks := min(i.BlockCount, maxBlocks)
	var n uint64
	for block := range blocks {
		n = sum(n, f(block))
	}
	if i.BlockCount > maxBlocks {
		n = product(n, i.BlockCount/maxBlocks+1)
	}
	return n
}
