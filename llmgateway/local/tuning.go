package local

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
)

// Tuning is what few models need. Its zero value leaves everything to the model and to llama-server.
type Tuning struct {
	// NUBatch is how many prompt tokens are computed in one step. 0 means 512, or all of a batch for embeddings.
	NUBatch int
	// NThreadsBatch is the number of threads that read prompts. 0 means as many as for answers.
	NThreadsBatch int
	// NCPUMoE is the number of layers whose experts stay in host memory.
	NCPUMoE int

	// SplitMode says how several GPUs share a model: "layer", "row", "tensor" or "none". Empty means by layer.
	SplitMode string
	// TensorSplit is the share of each GPU, such as "3,1".
	TensorSplit string
	// MainGPU is the number of the GPU that a model is on which is not split.
	MainGPU int

	// RopeScaling is how positions are scaled: "none", "linear" or "yarn". Empty means as the model says, or linear.
	RopeScaling string
	// RopeScale is how many times longer than in training a context may be. 0 means 1.
	RopeScale float64
	// RopeFreqBase replaces the model's own base frequency, unless it is 0.
	RopeFreqBase float64

	// Lora are the adapters that are applied to the model, made with [JoinArgs] of each one's path and scale. An empty scale
	// is 1.
	Lora string

	// ModelDraft is the GGUF file of a smaller model with the same words, which guesses what the model will say. The answer
	// is the same, only sooner.
	ModelDraft string
	// NDraft is how many tokens are guessed at once. 0 means 3.
	NDraft int

	// ChatTemplate is the Jinja template of a conversation, or the name of a built-in one. Empty means the model's own.
	ChatTemplate string
	// ChatTemplateFile is a file with such a template.
	ChatTemplateFile string
	// ReasoningFormat says where thoughts go: "none" leaves them in the text, "deepseek" makes them reasoning_content,
	// "deepseek-legacy" does both. Empty means "auto", which is deepseek.
	ReasoningFormat string
	// ReasoningBudget is how many tokens a model may think; "0" ends it at once, "-1" and empty do not bound it.
	ReasoningBudget string
}

func (t Tuning) validate() error {
	for _, n := range []struct {
		name  string
		value float64
	}{
		{"n_ubatch", float64(t.NUBatch)},
		{"n_threads_batch", float64(t.NThreadsBatch)},
		{"n_cpu_moe", float64(t.NCPUMoE)},
		{"main_gpu", float64(t.MainGPU)},
		{"n_draft", float64(t.NDraft)},
		{"rope_scale", t.RopeScale},
		{"rope_freq_base", t.RopeFreqBase},
	} {
		if n.value < 0 || math.IsNaN(n.value) || math.IsInf(n.value, 0) {
			return fmt.Errorf("%s %v is no number from 0 up", n.name, n.value)
		}
	}
	for _, w := range []struct {
		name, value string
		allowed     []string
	}{
		{"split_mode", t.SplitMode, []string{"none", "layer", "row", "tensor"}},
		{"rope_scaling", t.RopeScaling, []string{"none", "linear", "yarn"}},
		{"reasoning_format", t.ReasoningFormat, []string{"auto", "none", "deepseek", "deepseek-legacy"}},
	} {
		if w.value != "" && !slices.Contains(w.allowed, w.value) {
			return fmt.Errorf("%s %q is none of %s", w.name, w.value, strings.Join(w.allowed, ", "))
		}
	}
	if t.TensorSplit != "" {
		for share := range strings.SplitSeq(t.TensorSplit, ",") {
			if n, err := strconv.ParseFloat(share, 64); err != nil || !(n >= 0) {
				return fmt.Errorf("tensor_split %q is no list of shares such as 3,1", t.TensorSplit)
			}
		}
	}
	if n, err := strconv.Atoi(t.ReasoningBudget); t.ReasoningBudget != "" && (err != nil || n < -1) {
		return fmt.Errorf("reasoning_budget %q is no number from -1 up", t.ReasoningBudget)
	}
	for path, scale := range t.loras() {
		if path == "" {
			return fmt.Errorf("lora: a file is needed")
		}
		if scale == "" {
			continue
		}
		if _, err := strconv.ParseFloat(scale, 32); err != nil {
			return fmt.Errorf("lora: the scale %q is no number", scale)
		}
		if strings.Contains(path, ":") {
			return fmt.Errorf("lora: llama-server takes no scale for a path with a colon")
		}
	}
	if t.ChatTemplate != "" && t.ChatTemplateFile != "" {
		return fmt.Errorf("chat_template and chat_template_file exclude each other")
	}
	return nil
}

// loras yields each adapter's path and scale.
func (t Tuning) loras() iter.Seq2[string, string] {
	return func(yield func(path, scale string) bool) {
		if t.Lora == "" {
			return
		}
		for pair := range slices.Chunk(strings.Split(t.Lora, argSep), 2) {
			if !yield(pair[0], strings.Join(pair[1:], "")) {
				return
			}
		}
	}
}

// files returns the paths of the files that t names, for which a missing one's name is what it is.
func (t Tuning) files() map[string]string {
	files := make(map[string]string)
	for path := range t.loras() {
		files[path] = "the LoRA adapter"
	}
	for path, what := range map[string]string{t.ModelDraft: "the draft model", t.ChatTemplateFile: "the chat template"} {
		if path != "" {
			files[path] = what
		}
	}
	return files
}

// tuned returns the flags for c.Tuning.
func (c Config) tuned() []string {
	var args []string
	t := c.Tuning
	add := func(flag, value string) {
		if value != "" && value != "0" {
			args = append(args, flag, value)
		}
	}
	number := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	add("--ubatch-size", strconv.Itoa(t.NUBatch))
	add("--threads-batch", strconv.Itoa(t.NThreadsBatch))
	add("--n-cpu-moe", strconv.Itoa(t.NCPUMoE))
	add("--split-mode", t.SplitMode)
	add("--tensor-split", t.TensorSplit)
	add("--main-gpu", strconv.Itoa(t.MainGPU))
	add("--rope-scaling", t.RopeScaling)
	add("--rope-scale", number(t.RopeScale))
	add("--rope-freq-base", number(t.RopeFreqBase))
	for path, scale := range t.loras() {
		if scale == "" {
			add("--lora", csv(path))
		} else {
			add("--lora-scaled", csv(path+":"+scale))
		}
	}
	if t.ModelDraft != "" {
		add("--spec-draft-model", t.ModelDraft)
		// Without a type, a model that is not made for it would lie in memory unused.
		if !c.hasFlag("--spec-type") {
			add("--spec-type", "draft-simple")
		}
		add("--spec-draft-n-max", strconv.Itoa(t.NDraft))
	}
	add("--chat-template", t.ChatTemplate)
	add("--chat-template-file", t.ChatTemplateFile)
	add("--reasoning-format", t.ReasoningFormat)
	if t.ReasoningBudget != "" {
		args = append(args, "--reasoning-budget", t.ReasoningBudget)
	}
	return args
}

// csv quotes a value for a flag that takes several, separated by commas.
func csv(value string) string {
	if !strings.ContainsAny(value, `,"`) {
		return value
	}
	return `"` + strings.ReplaceAll(value, `"`, `""`) + `"`
}

// stretched returns the flags that make llama-server allow a longer context than the model's header, which it does not do
// for a scale alone.
func (c Config) stretched(model gguf.Info) []string {
	if c.RopeScale <= 1 || model.ContextLength == 0 || c.hasFlag("--override-kv") {
		return nil
	}
	args := []string{"--override-kv", fmt.Sprintf("%s.context_length=int:%d", model.Architecture, c.longest(model))}
	if !c.hasFlag("--yarn-orig-ctx") {
		args = append(args, "--yarn-orig-ctx", strconv.FormatUint(min(model.ContextLength, maxContext), 10))
	}
	return args
}

// longest returns the longest context that the model can have, or 0 if that is unknown.
func (c Config) longest(model gguf.Info) int {
	trained := min(model.ContextLength, maxContext)
	if c.RopeScale <= 1 || c.hasFlag("--override-kv") {
		return int(trained)
	}
	return int(min(float64(trained)*c.RopeScale, maxContext))
}
