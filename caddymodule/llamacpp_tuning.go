package caddymodule

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
)

// LlamaTuning is what few models need.
type LlamaTuning struct {
	// How many prompt tokens are computed in one step: more is faster on a GPU and takes memory. Default: llama-server's
	// (512), or all of a batch with `embeddings`.
	NUBatch int `json:"n_ubatch,omitempty"`

	// The number of threads that read prompts. Default: as many as for answers.
	NThreadsBatch int `json:"n_threads_batch,omitempty"`

	// The number of layers whose experts stay in host memory, for mixtures of experts that do not fit on a GPU. Default: none.
	NCPUMoE int `json:"n_cpu_moe,omitempty"`

	// Flash attention: `on`, `off` or `auto`. Default: auto, where the hardware has it.
	FlashAttn string `json:"flash_attn,omitempty"`

	// How several GPUs share the model: `layer`, `row`, `tensor`, or `none` for one GPU only. Default: layer.
	SplitMode string `json:"split_mode,omitempty"`

	// The share of each GPU, such as `3,1`. Default: by their free memory.
	TensorSplit string `json:"tensor_split,omitempty"`

	// The number of the GPU for a model that is not split. Default: 0.
	MainGPU int `json:"main_gpu,omitempty"`

	// How positions are scaled: `linear`, `yarn` or `none`. Default: as the model says, or linear.
	RopeScaling string `json:"rope_scaling,omitempty"`

	// How many times longer than in training the context may be. Default: 1.
	RopeScale float64 `json:"rope_scale,omitempty"`

	// The base frequency of positions. Default: the model's own.
	RopeFreqBase float64 `json:"rope_freq_base,omitempty"`

	// LoRA adapters for the model. Default: none.
	Lora []LoRA `json:"lora,omitempty"`

	// The file of a smaller model with the same tokens, which guesses ahead: the same answers, sooner. Placeholders are
	// resolved. Default: none.
	ModelDraft string `json:"model_draft,omitempty"`

	// How many tokens it guesses at once. Default: llama-server's (3).
	NDraft int `json:"n_draft,omitempty"`

	// The Jinja template of conversations, or the name of one of llama.cpp's own. Default: the model's own.
	ChatTemplate string `json:"chat_template,omitempty"`

	// A file with such a template. Placeholders are resolved.
	ChatTemplateFile string `json:"chat_template_file,omitempty"`

	// Where a model's thoughts go: `deepseek` into `reasoning_content`, `none` leaves them in the text, `deepseek-legacy`
	// does both. Default: auto, which is deepseek.
	ReasoningFormat string `json:"reasoning_format,omitempty"`

	// How many tokens a model may think: 0 ends it at once, -1 does not bound it. Default: -1.
	ReasoningBudget *int `json:"reasoning_budget,omitempty"`
}

// LoRA is an adapter that changes what a model was trained for.
type LoRA struct {
	// The GGUF file. Placeholders are resolved.
	Path string `json:"path,omitempty"`

	// How strongly it is applied. Default: 1.
	Scale *float64 `json:"scale,omitempty"`
}

// tuning translates the settings.
func (t *LlamaTuning) tuning(repl *caddy.Replacer) local.Tuning {
	var loras []string
	for _, lora := range t.Lora {
		scale := ""
		if lora.Scale != nil {
			scale = strconv.FormatFloat(*lora.Scale, 'g', -1, 64)
		}
		loras = append(loras, repl.ReplaceAll(lora.Path, ""), scale)
	}
	budget := ""
	if t.ReasoningBudget != nil {
		budget = strconv.Itoa(*t.ReasoningBudget)
	}
	return local.Tuning{
		NUBatch:          t.NUBatch,
		NThreadsBatch:    t.NThreadsBatch,
		NCPUMoE:          t.NCPUMoE,
		SplitMode:        t.SplitMode,
		TensorSplit:      t.TensorSplit,
		MainGPU:          t.MainGPU,
		RopeScaling:      t.RopeScaling,
		RopeScale:        t.RopeScale,
		RopeFreqBase:     t.RopeFreqBase,
		Lora:             local.JoinArgs(loras),
		ModelDraft:       repl.ReplaceAll(t.ModelDraft, ""),
		NDraft:           t.NDraft,
		ChatTemplate:     t.ChatTemplate,
		ChatTemplateFile: repl.ReplaceAll(t.ChatTemplateFile, ""),
		ReasoningFormat:  t.ReasoningFormat,
		ReasoningBudget:  budget,
	}
}

// tuningWords are the words that unmarshalWord knows.
const tuningWords = "n_ubatch, n_threads_batch, n_cpu_moe, flash_attn, split_mode, tensor_split, main_gpu, rope_scaling, rope_scale, rope_freq_base, lora, model_draft, n_draft, chat_template, chat_template_file, reasoning_format, reasoning_budget"

// unmarshalWord parses one line of a provider's block. known is false if the word is none of these.
func (t *LlamaTuning) unmarshalWord(d *caddyfile.Dispenser) (known bool, err error) {
	switch d.Val() {
	case "n_ubatch":
		return true, unmarshalInt(d, &t.NUBatch)
	case "n_threads_batch":
		return true, unmarshalInt(d, &t.NThreadsBatch)
	case "n_cpu_moe":
		return true, unmarshalInt(d, &t.NCPUMoE)
	case "flash_attn":
		return true, unmarshalString(d, &t.FlashAttn)
	case "split_mode":
		return true, unmarshalString(d, &t.SplitMode)
	case "tensor_split":
		return true, unmarshalString(d, &t.TensorSplit)
	case "main_gpu":
		return true, unmarshalInt(d, &t.MainGPU)
	case "rope_scaling":
		return true, unmarshalString(d, &t.RopeScaling)
	case "rope_scale":
		return true, unmarshalFloat(d, &t.RopeScale)
	case "rope_freq_base":
		return true, unmarshalFloat(d, &t.RopeFreqBase)
	case "lora":
		return true, t.unmarshalLoRA(d)
	case "model_draft":
		return true, unmarshalString(d, &t.ModelDraft)
	case "n_draft":
		return true, unmarshalInt(d, &t.NDraft)
	case "chat_template":
		return true, unmarshalString(d, &t.ChatTemplate)
	case "chat_template_file":
		return true, unmarshalString(d, &t.ChatTemplateFile)
	case "reasoning_format":
		return true, unmarshalString(d, &t.ReasoningFormat)
	case "reasoning_budget":
		var arg string
		if err := unmarshalString(d, &arg); err != nil {
			return true, err
		}
		budget, err := strconv.Atoi(arg)
		if err != nil || budget < -1 {
			return true, d.Errf("reasoning_budget: %q is not a number from -1 up", arg)
		}
		t.ReasoningBudget = &budget
		return true, nil
	default:
		return false, nil
	}
}

func (t *LlamaTuning) unmarshalLoRA(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 1 && len(args) != 2 {
		return d.ArgErr()
	}
	lora := LoRA{Path: args[0]}
	if len(args) == 2 {
		scale, err := strconv.ParseFloat(args[1], 64)
		if err != nil {
			return d.Errf("lora: the scale %q is not a number", args[1])
		}
		lora.Scale = &scale
	}
	t.Lora = append(t.Lora, lora)
	return nil
}
