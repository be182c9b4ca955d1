package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"runtime"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
)

func init() {
	caddy.RegisterModule(LlamaCPP{})
}

// LlamaCPP runs a GGUF model with llama.cpp's server, as a process that the gateway supervises. Providers with equal
// settings share one process, across sites and reloads. Words are llama.cpp's own.
type LlamaCPP struct {
	// The model file, or a folder: then every model in it, and in the folders in it, is offered by its name, and comes and
	// goes with its file. A path that ends in a slash is a folder even before there is one. Placeholders are resolved; if they
	// are empty, the provider is disabled.
	Path string `json:"path,omitempty"`

	// The context of one request in tokens, prompt and answer together. Default: what the model was trained for.
	NCtx int `json:"n_ctx,omitempty"`

	// How many prompt tokens are processed at once. Default: llama-server's.
	NBatch int `json:"n_batch,omitempty"`

	// The number of threads, at most one for each processor. Default: one for each physical core.
	NThreads int `json:"n_threads,omitempty"`

	// How many layers go to the GPU: a number, or `all`. Default: as many as fit.
	NGPULayers string `json:"n_gpu_layers,omitempty"`

	// How many generations run at once. Default: 1.
	NParallel int `json:"n_parallel,omitempty"`

	// How many requests may wait for their turn. One more goes to the next target. Default: 64.
	MaxQueue *int `json:"max_queue,omitempty"`

	// How long a request may have to wait for its first token: for the model to load, for its turn, and for its prompt. One
	// that is expected to wait longer, by what was measured so far, goes to the next target at once. Default: no bound.
	MaxWait caddy.Duration `json:"max_wait,omitempty"`

	// The file of a vision projector. With one the model can see images. `auto` is the one that lies beside the model and is
	// named like it, such as `mmproj-some-model-f16.gguf` beside `some-model-q4_k_m.gguf`, if there is one when the
	// configuration is loaded. In a folder of models, each gets the one that belongs to it.
	MMProj string `json:"mmproj,omitempty"`

	// Whether the KV cache is in f16 (true) or f32 (false). Default: f16.
	F16KV *bool `json:"f16_kv,omitempty"`

	// The types of the KV cache, such as `q8_0`. A quantised V needs flash attention.
	CacheTypeK string `json:"cache_type_k,omitempty"`
	CacheTypeV string `json:"cache_type_v,omitempty"`

	// Host memory for prompts whose slot went to another request, in bytes. Default: none.
	CacheRAM int64 `json:"cache_ram,omitempty"`

	// A folder for the prompts that the model has read, from when it is unloaded to when it is loaded again, so that
	// conversations go on without being read anew. It takes as much room as the KV cache that was in use. Placeholders are
	// resolved. Default: they are lost.
	CacheDir string `json:"cache_dir,omitempty"`

	// The pooling for embeddings, such as `mean`. Empty serves no embeddings.
	Embeddings string `json:"embeddings,omitempty"`

	// Whether the model is locked in memory. Default: false.
	UseMlock bool `json:"use_mlock,omitempty"`

	// Whether the model file is mapped into memory. Default: true.
	UseMmap *bool `json:"use_mmap,omitempty"`

	// Whether the model is loaded when Caddy starts. Default: at the first request.
	Preload bool `json:"preload,omitempty"`

	// The models of a folder that are loaded when Caddy starts, or when they appear. Default: none.
	PreloadModels []string `json:"preload_models,omitempty"`

	// How long the model stays loaded without requests. Of providers that share a process the longest counts. Default:
	// for ever.
	KeepAlive caddy.Duration `json:"keep_alive,omitempty"`

	// The path of llama-server. Default: the environment's LLAMA_SERVER, then PATH, then the project's own build.
	LlamaServer string `json:"llama_server,omitempty"`

	LlamaTuning

	// Further flags for llama-server.
	Args []string `json:"args,omitempty"`

	folder *llamaFolder // if there are many models
	engine heldEngine   // if there is one
	off    *disabled    // if there is none
}

const defaultMaxQueue = 64

// CaddyModule returns the Caddy module information.
func (LlamaCPP) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "llm.providers.llamacpp",
		New: func() caddy.Module { return new(LlamaCPP) },
	}
}

// Provision implements caddy.Provisioner. It takes hold of the engine, or of the folder, and starts nothing.
func (l *LlamaCPP) Provision(ctx caddy.Context) error {
	if l.unset() {
		l.off = &disabled{"the model file " + placeholderOnly(l.Path) + " is empty; set it to a GGUF file, such as models/starter.gguf"}
		return nil
	}
	config, err := l.config()
	if err != nil {
		return err
	}
	maxQueue := defaultMaxQueue
	if l.MaxQueue != nil {
		maxQueue = *l.MaxQueue
	}
	if local.IsFolder(config.ModelPath) {
		folder, err := l.folderConfig(config)
		if err == nil {
			l.folder, err = newLlamaFolder(folder, maxQueue, time.Duration(l.MaxWait))
		}
		return err
	}
	if l.PreloadModels != nil {
		return errors.New("preload: names are for folders of models; for a single one, write preload alone")
	}
	return l.engine.hold(config, maxQueue, time.Duration(l.MaxWait))
}

// unset reports whether the path is a placeholder that is empty.
func (l *LlamaCPP) unset() bool {
	return l.Path != "" && strings.TrimSpace(caddy.NewReplacer().ReplaceAll(l.Path, "")) == ""
}

// switchedOff returns what takes the provider's place if it is disabled, or nil.
func (l *LlamaCPP) switchedOff() *disabled { return l.off }

// config translates the settings.
func (l *LlamaCPP) config() (local.Config, error) {
	repl := caddy.NewReplacer()
	kv := ""
	if l.F16KV != nil {
		kv = "f32"
		if *l.F16KV {
			kv = "f16"
		}
	}
	config := local.Config{
		Binary:     repl.ReplaceAll(l.LlamaServer, ""),
		ModelPath:  repl.ReplaceAll(l.Path, ""),
		MMProj:     repl.ReplaceAll(l.MMProj, ""),
		NCtx:       l.NCtx,
		NBatch:     l.NBatch,
		NThreads:   min(l.NThreads, runtime.NumCPU()), // others would wait for their turn in a loop, and the rest for them
		NGPULayers: l.NGPULayers,
		NParallel:  l.NParallel,
		CacheTypeK: cmp.Or(l.CacheTypeK, kv),
		CacheTypeV: cmp.Or(l.CacheTypeV, kv),
		CacheRAM:   int(l.CacheRAM >> 20),
		CacheDir:   repl.ReplaceAll(l.CacheDir, ""),
		Embeddings: l.Embeddings,
		UseMlock:   l.UseMlock,
		NoMmap:     l.UseMmap != nil && !*l.UseMmap,
		FlashAttn:  l.FlashAttn,
		Tuning:     l.tuning(repl),
		Args:       local.JoinArgs(l.Args),
	}
	if config.MMProj == autoProjector {
		config.MMProj = local.FindProjector(config.ModelPath)
	}
	return config, config.Validate()
}

// autoProjector is the word for the vision projector that is found beside the model.
const autoProjector = "auto"

// Cleanup implements caddy.CleanerUpper. It lets go of the engine exactly if Provision took hold of it. Requests that
// are still running keep it.
func (l *LlamaCPP) Cleanup() error {
	if l.folder != nil {
		return l.folder.cleanup()
	}
	return l.engine.release()
}

// start implements starter.
func (l *LlamaCPP) start() { l.engine.begin(time.Duration(l.KeepAlive), l.Preload) }

// Generate implements llmgateway.Provider.
func (l *LlamaCPP) Generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	return l.engine.generate(ctx, req)
}

// Status implements llmgateway.Reporter.
func (l *LlamaCPP) Status() llmgateway.Status { return l.engine.provider.Status() }

// Identity implements llmgateway.Identifier.
func (l *LlamaCPP) Identity() string { return l.engine.provider.Identity() }

// ModelInfo implements llmgateway.Modeler.
func (l *LlamaCPP) ModelInfo() llmgateway.ModelInfo { return l.engine.provider.ModelInfo() }

// Interface guards
var (
	_ caddy.Provisioner     = (*LlamaCPP)(nil)
	_ caddy.CleanerUpper    = (*LlamaCPP)(nil)
	_ llmgateway.Provider   = (*LlamaCPP)(nil)
	_ llmgateway.Reporter   = (*LlamaCPP)(nil)
	_ llmgateway.Identifier = (*LlamaCPP)(nil)
	_ llmgateway.Modeler    = (*LlamaCPP)(nil)
	_ starter               = (*LlamaCPP)(nil)
)
