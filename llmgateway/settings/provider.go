package settings

import (
	"errors"
	"strconv"
)

// Auto is what clients ask for to leave the choice of the provider to the gateway.
const Auto = "auto"

// The types of providers.
const (
	LlamaCPP         = "llama.cpp"
	HuggingFace      = "huggingface"
	OpenRouter       = "openrouter"
	OpenAICompatible = "openai-compatible"
)

// Provider is one place that answers come from.
type Provider struct {
	// The name that requests and auto_pick call it by.
	Name string `yaml:"name"`
	// What it is: a GGUF model that the gateway runs itself (llama.cpp), or a service.
	Type string `yaml:"type" enum:"llama.cpp,huggingface,openrouter,openai-compatible"`
	// Whether it is used at all.
	Enabled bool `yaml:"enabled"`
	// What a service calls the model to ask for. If the variable in it is empty when the gateway starts, the provider is off.
	Model Text `yaml:"model"`
	// The key for a service: the variable or the file that it is in, never the key itself. If it is empty when the gateway starts, the provider is off.
	APIKey Secret `yaml:"api_key"`
	// The URL that the service's /chat/completions is under. Needed for openai-compatible; other services have one of their own.
	BaseURL Text `yaml:"base_url"`
	// The GGUF file for llama.cpp. If the variable in it is empty when the gateway starts, the provider is off.
	ModelPath Text `yaml:"model_path"`
	// How llama.cpp runs the model.
	Params *Params `yaml:"params"`
}

func (p *Provider) setDefaults() { *p = Provider{Enabled: true} }

// Local reports whether the gateway runs the model itself.
func (p *Provider) Local() bool { return p.Type == LlamaCPP }

// Params is how llama.cpp runs a model. The words are its own.
type Params struct {
	// The context of one request in tokens, prompt and answer together. Left out, what the model was trained for.
	NCtx int `yaml:"n_ctx" range:"1-100000000"`
	// How many prompt tokens are processed at once. Left out, llama.cpp's own choice.
	NBatch int `yaml:"n_batch" range:"1-1000000"`
	// The number of threads, at most one for each processor. Left out, one for each physical core.
	NThreads int `yaml:"n_threads" range:"1-4096"`
	// How many layers go to the GPU: a number, or all (also written -1). Left out, as many as fit.
	NGPULayers *Layers `yaml:"n_gpu_layers"`
	// How many requests are answered at once. Each has a context of its own. Left out, one.
	NParallel int `yaml:"n_parallel" range:"1-1024"`
	// Whether the KV cache is in f16, or in f32, which takes twice the memory.
	F16KV bool `yaml:"f16_kv"`
	// Whether the model is kept from being swapped out.
	UseMlock bool `yaml:"use_mlock"`
	// Whether the model file is mapped into memory instead of being read.
	UseMmap bool `yaml:"use_mmap"`
	// The GGUF file of a vision projector, with which the model sees images. Left out, the one beside the model that is named like it, if any.
	MMProj Text `yaml:"mmproj"`
	// Whether embeddings are served too.
	Embeddings bool `yaml:"embeddings"`
}

func (p *Params) setDefaults() { *p = Params{F16KV: true, UseMmap: true} }

// DefaultParams returns how a model is run where the file does not say it.
func DefaultParams() *Params {
	p := new(Params)
	p.setDefaults()
	return p
}

// Layers is a number of layers. AllLayers means every one.
type Layers int

// AllLayers is how llama.cpp's bindings write that the whole model goes to the GPU.
const AllLayers Layers = -1

// set parses what stands in the file.
func (l *Layers) set(text string) error {
	if text == "all" {
		*l = AllLayers
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < -1 || n > 100000 {
		return errors.New("write a number from 0 up, or all")
	}
	*l = Layers(n)
	return nil
}

// String returns the number or the word.
func (l Layers) String() string {
	if l == AllLayers {
		return "all"
	}
	return strconv.Itoa(int(l))
}
