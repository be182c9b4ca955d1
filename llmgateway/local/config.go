package local

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is what llama-server is started with. Every field is a value, so that configurations can be compared: two
// equal ones may share a process. Words are llama.cpp's own.
type Config struct {
	// Binary is the path of llama-server, or empty for the one that [FindServer] finds.
	Binary string
	// ModelPath is the GGUF file.
	ModelPath string
	// MMProj is the GGUF file of a vision projector. With one, requests may contain images.
	MMProj string

	// NCtx is the number of tokens that one request may hold, prompt and answer together. 0 means as many as the model
	// was trained for, and more than that is not given. Memory grows with NCtx times NParallel.
	NCtx int
	// NBatch is how many prompt tokens are processed at once. 0 means llama-server's own choice (2048).
	NBatch int
	// NThreads is the number of threads. 0 means one for each physical core.
	NThreads int
	// NGPULayers is the number of layers that go to the GPU: a number, "all", or empty for as many as fit.
	NGPULayers string
	// NParallel is the number of generations at once (slots). 0 means 1.
	NParallel int
	// FlashAttn is "on", "off" or empty for llama-server's own choice.
	FlashAttn string
	// CacheTypeK and CacheTypeV are the types of the KV cache: "f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0" or
	// "iq4_nl". Empty means f16. A quantised V needs flash attention.
	CacheTypeK, CacheTypeV string
	// CacheRAM is the host memory in MiB for prompts whose slot went to another request. It is worth its memory when
	// several long conversations take turns. llama-server's own default is 8 GiB; here it is 0, none.
	CacheRAM int
	// CacheDir is a folder for what slots have computed, from when a server is ended to when it is started again. Empty means
	// that it is lost.
	CacheDir string
	// Embeddings is the pooling for embeddings ("none", "mean", "cls", "last" or "rank"), or empty for a server without them.
	Embeddings string
	// UseMlock keeps the model from being swapped out.
	UseMlock bool
	// NoMmap reads the whole file instead of mapping it.
	NoMmap bool
	// Tuning is what few models need.
	Tuning
	// Args holds further flags, made with [JoinArgs]. They come last and win.
	Args string

	// Command is a program to run in llama-server's place. With one, only NParallel counts of the fields above.
	Command Command
}

// JoinArgs puts flags into the one string that a comparable [Config] can hold.
func JoinArgs(args []string) string { return strings.Join(args, argSep) }

// argSep cannot be part of a command line argument.
const argSep = "\x00"

// ownFlags are the flags that args may not hold, and why.
var ownFlags = []struct {
	flags []string
	why   string
}{
	{[]string{
		"--slot-save-path", "--host", "--port", "--reuse-port", "--api-key", "--api-key-file", "--api-prefix", "--ssl-key-file", "--ssl-cert-file",
	}, "is for the gateway to set: without its own socket the server would be open to others, or not be found"},
	{[]string{
		"-m", "--model", "-a", "--alias", "-mu", "--model-url", "-hf", "-hfr", "--hf-repo", "-hff", "--hf-file", "-dr", "--docker-repo",
		"--models-dir", "--models-preset",
	}, "is for the gateway to set: the model is the file that the provider names"},
	{[]string{"-np", "--parallel"}, "is for the gateway to set, which sends as many requests at once as there are slots: use n_parallel"},
	{[]string{"--media-path"}, "would let clients read files of this machine: images come in the request, as data: URLs"},
}

// cacheTypes and poolings are those that llama-server 0.5.0 takes.
var (
	cacheTypes = []string{"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"}
	poolings   = []string{"none", "mean", "cls", "last", "rank"}
)

// Validate reports what is wrong with c, without looking at any file.
func (c Config) Validate() error {
	if c.Command != (Command{}) {
		if c.NParallel < 0 {
			return fmt.Errorf("n_parallel %d is negative", c.NParallel)
		}
		return c.Command.validate()
	}
	if c.ModelPath == "" {
		return fmt.Errorf("a model file is needed")
	}
	for _, n := range []struct {
		name  string
		value int
	}{
		{"n_ctx", c.NCtx}, {"n_batch", c.NBatch}, {"n_threads", c.NThreads}, {"n_parallel", c.NParallel}, {"cache_ram", c.CacheRAM},
	} {
		if n.value < 0 {
			return fmt.Errorf("%s %d is negative", n.name, n.value)
		}
	}
	for arg := range strings.SplitSeq(c.Args, argSep) {
		for _, own := range ownFlags {
			if flag := flagOf(arg); slices.Contains(own.flags, flag) {
				return fmt.Errorf("args: %s %s", flag, own.why)
			}
		}
	}
	for _, w := range []struct {
		name, value string
		allowed     []string
	}{
		{"cache_type_k", c.CacheTypeK, cacheTypes}, {"cache_type_v", c.CacheTypeV, cacheTypes}, {"embeddings", c.Embeddings, poolings},
	} {
		if w.value != "" && !slices.Contains(w.allowed, w.value) {
			return fmt.Errorf("%s %q is none of %s", w.name, w.value, strings.Join(w.allowed, ", "))
		}
	}
	switch c.NGPULayers {
	case "", "auto", "all":
	default:
		// llama-server takes -1 for automatic, where its users expect all.
		if n, err := strconv.Atoi(c.NGPULayers); err != nil || n < 0 {
			return fmt.Errorf("n_gpu_layers %q is neither a number nor all", c.NGPULayers)
		}
	}
	switch c.FlashAttn {
	case "", "on", "off", "auto":
	default:
		return fmt.Errorf("flash_attn %q is none of on, off and auto", c.FlashAttn)
	}
	return c.validate()
}

// hasFlag reports whether one of the flags is among the further ones.
func (c Config) hasFlag(flags ...string) bool {
	if c.Args == "" {
		return false
	}
	for arg := range strings.SplitSeq(c.Args, argSep) {
		if slices.Contains(flags, flagOf(arg)) {
			return true
		}
	}
	return false
}

// flagOf returns the flag that an argument is or begins with. llama-server takes an underscore in a long one for a dash.
func flagOf(arg string) string {
	flag, _, _ := strings.Cut(arg, "=")
	if strings.HasPrefix(flag, "--") {
		flag = strings.ReplaceAll(flag, "_", "-")
	}
	return flag
}

// Name returns what the model is called: the file's name without .gguf and without the number of its part. A command's
// model is called as it says, or as the program.
func (c Config) Name() string {
	if c.Command != (Command{}) {
		return c.Command.name()
	}
	name := strings.TrimSuffix(filepath.Base(c.ModelPath), ".gguf")
	name = part.ReplaceAllString(name, "")
	// llama-server takes a comma for the end of a name.
	return strings.ReplaceAll(name, ",", "_")
}

func (c Config) slots() int { return cmp.Or(c.NParallel, 1) }

// Key identifies an engine: a configuration, and the files that it means now. It is comparable. An engine can serve
// another configuration's requests exactly if their keys are equal.
type Key struct {
	Config
	binary, model, mmproj fileID
	others                fileID // the files that its Tuning names
}

// Key looks up the files of c. A missing file is no error yet: it may be there when a request comes.
func (c Config) Key() Key {
	if c.Command != (Command{}) {
		c.NParallel = c.slots()
		path, _ := c.Command.path()
		return Key{Config: c, binary: identify(path)}
	}
	if c.Binary == "" {
		c.Binary, _ = FindServer("")
	}
	for _, path := range []*string{&c.ModelPath, &c.MMProj, &c.CacheDir, &c.ModelDraft, &c.ChatTemplateFile} {
		if abs, err := filepath.Abs(*path); err == nil && *path != "" {
			*path = abs
		}
	}
	if c.NGPULayers == "auto" {
		c.NGPULayers = ""
	}
	if c.FlashAttn == "auto" {
		c.FlashAttn = ""
	}
	c.NParallel = c.slots()
	others := slices.Sorted(maps.Keys(c.Tuning.files()))
	return Key{
		Config: c,
		binary: identify(c.Binary), model: identify(parts(c.ModelPath)...), mmproj: identify(c.MMProj), others: identify(others...),
	}
}

// files returns the paths of all files that the answers depend on.
func (c Config) files() []string {
	return slices.Concat([]string{c.Binary, c.MMProj}, parts(c.ModelPath), slices.Sorted(maps.Keys(c.Tuning.files())))
}

// identity returns a hash of what answers depend on. It has no folders, which differ between machines, and a file's size
// stands for what is in it.
func (k Key) identity() string {
	c := k.Config
	c.Binary, c.CacheDir, c.CacheRAM, c.NThreads, c.NParallel, c.UseMlock, c.NoMmap = "", "", 0, 0, 0, false, false
	c.ModelPath, c.MMProj = filepath.Base(c.ModelPath), filepath.Base(c.MMProj)
	return fmt.Sprintf("local %x", sha256.Sum256(fmt.Appendf(nil, "%+v %d %d", c, k.model.sizeBytes, k.mmproj.sizeBytes)))
}

// fileID tells whether a file, or one of several that belong together, was replaced.
type fileID struct {
	sizeBytes int64     // of all
	modified  time.Time // the latest
	inode     uint64    // a file of another name that took this one's place is another; of several, what stands for all
}

func identify(paths ...string) (id fileID) {
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil {
			id = id.with(newFileID(info))
		}
	}
	return id
}

func newFileID(info os.FileInfo) fileID {
	// Without a location, so that equal times compare equal.
	return fileID{sizeBytes: info.Size(), modified: info.ModTime().UTC().Round(0), inode: inode(info)}
}

// with returns what identifies both.
func (id fileID) with(other fileID) fileID {
	id.sizeBytes += other.sizeBytes
	if other.modified.After(id.modified) {
		id.modified = other.modified
	}
	id.inode = 31*id.inode + other.inode
	return id
}
