package local

import (
	"cmp"
	"strconv"
	"strings"
)

// args returns the flags for a server that listens on socket and gives every request ctx tokens. What llama-server would choose by itself, and what
// matters to the memory or to the answer, is always said, because its defaults change.
func (c Config) args(socket string, ctx int) []string {
	slots := c.slots()
	args := []string{
		"--model", c.ModelPath,
		"--host", socket,
		// Otherwise the answers tell clients the file's path.
		"--alias", c.Name(),
		"--parallel", strconv.Itoa(slots),
		"--cache-ram", strconv.Itoa(c.CacheRAM),
		"--ctx-checkpoints", strconv.Itoa(contextCheckpoints),
		// A prompt that does not fit is an error, not a model that forgets its beginning.
		"--no-context-shift",
		"--jinja",
		"--no-webui",
		"--offline",
		"--log-prefix", "--log-timestamps",
	}
	add := func(flag, value string) {
		if value != "" && value != "0" {
			args = append(args, flag, value)
		}
	}
	// llama-server divides the context among its slots, also the one that it takes from the model.
	add("--ctx-size", strconv.Itoa(ctx*slots))
	add("--batch-size", strconv.Itoa(c.NBatch))
	add("--threads", strconv.Itoa(c.NThreads))
	// Fitting changes nothing but what is left open here, and that is only the number of layers.
	if c.NGPULayers == "" {
		args = append(args, "--fit", "on")
	} else {
		args = append(args, "--fit", "off", "--n-gpu-layers", c.NGPULayers)
	}
	add("--flash-attn", c.FlashAttn)
	add("--cache-type-k", c.CacheTypeK)
	add("--cache-type-v", c.CacheTypeV)
	add("--mmproj", c.MMProj)
	add("--load-mode", c.loadMode())
	if c.Embeddings != "" {
		args = append(args, "--embeddings", "--pooling", c.Embeddings)
		// An embedding's input must fit into one physical batch, which is 512 tokens unless told otherwise.
		c.NUBatch = c.embeddingBatch()
	}
	args = append(args, c.tuned()...)
	if c.Args != "" {
		args = append(args, strings.Split(c.Args, argSep)...)
	}
	return args
}

// contextCheckpoints is how many states of a conversation each slot keeps, of models that cannot drop the end of one: those
// with a sliding window or a recurrent state. Without any, the next message would make llama-server read everything again.
// It makes up to three for each message and needs the last ones only; by its own choice it keeps 32, which for a window of a
// large model are gigabytes.
const contextCheckpoints = 4

func (c Config) loadMode() string {
	switch {
	case c.UseMlock && c.NoMmap:
		return "mlock"
	case c.UseMlock:
		return "mmap+mlock"
	case c.NoMmap:
		return "none"
	default:
		return "" // mmap, unless a device cannot
	}
}

func (c Config) embeddingBatch() int { return cmp.Or(c.NUBatch, c.NBatch, 2048) }
