package local

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/gguf"
)

// settings are all there are, and what each adds to the command line.
var settings = []struct {
	name   string
	change func(*Config)
	gone   string // what is no longer said
	want   string
}{
	{"n_batch", func(c *Config) { c.NBatch = 64 }, "", "--batch-size 64"},
	{"n_threads", func(c *Config) { c.NThreads = 3 }, "", "--threads 3"},
	{"n_gpu_layers", func(c *Config) { c.NGPULayers = "all" }, "--fit on", "--fit off --n-gpu-layers all"},
	{"n_parallel", func(c *Config) { c.NParallel = 2 }, "--parallel 1 --ctx-size 1024", "--parallel 2 --ctx-size 2048"},
	{"cache_type_k", func(c *Config) { c.CacheTypeK = "q8_0" }, "", "--cache-type-k q8_0"},
	{"cache_type_v", func(c *Config) { c.CacheTypeV = "q8_0" }, "", "--cache-type-v q8_0"},
	{"cache_ram", func(c *Config) { c.CacheRAM = 512 }, "--cache-ram 0", "--cache-ram 512"},
	{"mmproj", func(c *Config) { c.MMProj = "/mm.gguf" }, "", "--mmproj /mm.gguf"},
	{"embeddings", func(c *Config) { c.Embeddings = "mean" }, "", "--embeddings --pooling mean --ubatch-size 2048"},
	{"embeddings with n_ubatch", func(c *Config) { c.Embeddings, c.NUBatch = "mean", 99 }, "", "--embeddings --pooling mean --ubatch-size 99"},
	{"use_mlock", func(c *Config) { c.UseMlock = true }, "", "--load-mode mmap+mlock"},
	{"use_mmap false", func(c *Config) { c.NoMmap = true }, "", "--load-mode none"},
	{"flash_attn", func(c *Config) { c.FlashAttn = "off" }, "", "--flash-attn off"},
	{"n_ubatch", func(c *Config) { c.NUBatch = 128 }, "", "--ubatch-size 128"},
	{"n_threads_batch", func(c *Config) { c.NThreadsBatch = 4 }, "", "--threads-batch 4"},
	{"n_cpu_moe", func(c *Config) { c.NCPUMoE = 12 }, "", "--n-cpu-moe 12"},
	{"split_mode", func(c *Config) { c.SplitMode = "row" }, "", "--split-mode row"},
	{"tensor_split", func(c *Config) { c.TensorSplit = "3,1" }, "", "--tensor-split 3,1"},
	{"main_gpu", func(c *Config) { c.MainGPU = 1 }, "", "--main-gpu 1"},
	{"rope_scaling", func(c *Config) { c.RopeScaling = "yarn" }, "", "--rope-scaling yarn"},
	{"rope_scale", func(c *Config) { c.RopeScale = 2.5 }, "", "--rope-scale 2.5"},
	{"rope_freq_base", func(c *Config) { c.RopeFreqBase = 1e6 }, "", "--rope-freq-base 1e+06"},
	{"lora", func(c *Config) { c.Lora = JoinArgs([]string{"/a:b.gguf", "", "/c,d.gguf", "0.5"}) }, "", `--lora /a:b.gguf --lora-scaled "/c,d.gguf:0.5"`},
	{"model_draft", func(c *Config) { c.ModelDraft = "/d.gguf" }, "", "--spec-draft-model /d.gguf --spec-type draft-simple"},
	{"model_draft of another type", func(c *Config) { c.ModelDraft, c.Args = "/d.gguf", JoinArgs([]string{"--spec-type", "draft-mtp"}) }, "", "--spec-draft-model /d.gguf --spec-type draft-mtp"},
	{"n_draft", func(c *Config) { c.ModelDraft, c.NDraft = "/d.gguf", 8 }, "", "--spec-draft-model /d.gguf --spec-type draft-simple --spec-draft-n-max 8"},
	{"chat_template", func(c *Config) { c.ChatTemplate = "chatml" }, "", "--chat-template chatml"},
	{"chat_template_file", func(c *Config) { c.ChatTemplateFile = "/t.jinja" }, "", "--chat-template-file /t.jinja"},
	{"reasoning_format", func(c *Config) { c.ReasoningFormat = "none" }, "", "--reasoning-format none"},
	{"reasoning_budget", func(c *Config) { c.ReasoningBudget = "0" }, "", "--reasoning-budget 0"},
	{"args", func(c *Config) { c.Args = JoinArgs([]string{"--seed", "7"}) }, "", "--seed 7"},
}

// TestEachSettingHasItsFlags compares with the command line of a configuration without the setting.
func TestEachSettingHasItsFlags(t *testing.T) {
	for _, test := range settings {
		t.Run(test.name, func(t *testing.T) {
			plain := Config{ModelPath: "/m.gguf", NCtx: 1024}
			changed := plain
			test.change(&changed)
			if err := changed.Validate(); err != nil {
				t.Fatal(err)
			}
			before, after := plain.args("/1.sock", 1024), changed.args("/1.sock", 1024)
			if got := strings.Join(beyond(after, before), " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if got := strings.Join(beyond(before, after), " "); got != test.gone {
				t.Errorf("no longer said: got %q, want %q", got, test.gone)
			}
		})
	}
}

// beyond returns the flags of a, with their values, that are not in b.
func beyond(a, b []string) []string {
	pairs := func(args []string) (list []string) {
		for _, arg := range args {
			if strings.HasPrefix(arg, "--") || len(list) == 0 {
				list = append(list, arg)
			} else {
				list[len(list)-1] += " " + arg
			}
		}
		return list
	}
	known := pairs(b)
	return slices.DeleteFunc(pairs(a), func(pair string) bool { return slices.Contains(known, pair) })
}

func TestInvalidTuning(t *testing.T) {
	for _, test := range []struct {
		tuning Tuning
		want   string
	}{
		{Tuning{NUBatch: -1}, "n_ubatch -1 is no number from 0 up"},
		{Tuning{SplitMode: "half"}, `split_mode "half" is none of none, layer, row, tensor`},
		{Tuning{RopeScaling: "longer"}, `rope_scaling "longer" is none of none, linear, yarn`},
		{Tuning{ReasoningFormat: "xml"}, `reasoning_format "xml" is none of auto, none, deepseek, deepseek-legacy`},
		{Tuning{ReasoningBudget: "-2"}, `reasoning_budget "-2" is no number from -1 up`},
		{Tuning{TensorSplit: "3,x"}, `tensor_split "3,x" is no list of shares such as 3,1`},
		{Tuning{Lora: JoinArgs([]string{"a.gguf", "much"})}, `lora: the scale "much" is no number`},
		{Tuning{Lora: JoinArgs([]string{"a:b.gguf", "2"})}, "lora: llama-server takes no scale for a path with a colon"},
		{Tuning{ChatTemplate: "chatml", ChatTemplateFile: "f"}, "chat_template and chat_template_file exclude each other"},
	} {
		err := Config{ModelPath: "m", Tuning: test.tuning}.Validate()
		if err == nil || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}

func TestFilesOfTuningAreLookedFor(t *testing.T) {
	for name, change := range map[string]func(*Config, string){
		"the LoRA adapter":  func(c *Config, path string) { c.Lora = JoinArgs([]string{path, ""}) },
		"the draft model":   func(c *Config, path string) { c.ModelDraft = path },
		"the chat template": func(c *Config, path string) { c.ChatTemplateFile = path },
	} {
		path := filepath.Join(t.TempDir(), "file")
		e := engine(t, func(c *Config) { change(c, path) })
		if got, want := e.Status(), (llmgateway.Status{State: llmgateway.StateFailed, Detail: name + " file is missing"}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		before := e.key.Key()
		if err := os.Rename(modelFile(t), path); err != nil {
			t.Fatal(err)
		}
		if e.key.Key() == before {
			t.Errorf("%s: a new file has the same key", name)
		}
		if got := e.Status().State; got != llmgateway.StateIdle {
			t.Errorf("%s: got %s, want idle", name, got)
		}
	}
}

// TestRealServerKnowsEveryFlag starts llama-server with every setting that a machine without GPUs can have.
func TestRealServerKnowsEveryFlag(t *testing.T) {
	model := starterModel(t)
	template := filepath.Join(t.TempDir(), "chat.jinja")
	if err := os.WriteFile(template, []byte("{% for m in messages %}{{ m.content }} {% endfor %}"), 0o600); err != nil {
		t.Fatal(err)
	}
	var logs lockedBuffer
	e := realEngine(t, &logs, Config{
		ModelPath: model, NCtx: 512, NBatch: 256, NThreads: 1, NGPULayers: "0", NParallel: 2, FlashAttn: "on", CacheTypeK: "f16", CacheTypeV: "f16",
		CacheRAM: 16, CacheDir: t.TempDir(), UseMlock: false, NoMmap: true, Args: JoinArgs([]string{"--seed", "7"}),
		Tuning: Tuning{
			NUBatch: 128, NThreadsBatch: 2, NCPUMoE: 1, SplitMode: "layer", TensorSplit: "1", MainGPU: 0, RopeScaling: "linear", RopeScale: 1, RopeFreqBase: 10000,
			ModelDraft: model, NDraft: 4, ChatTemplateFile: template, ReasoningFormat: "deepseek", ReasoningBudget: "-1",
		},
	})
	if err := e.key.Validate(); err != nil {
		t.Fatal(err)
	}
	p := &Provider{Engine: e}
	said, err := generate(t.Context(), p, ask(t, llmgateway.Chat, chatBody, false, "hello hello hello"))
	if err != nil {
		t.Fatal(err, logs.String())
	}
	if !strings.Contains(said, `"draft_n"`) {
		t.Errorf("the draft model drafts nothing: %s", said)
	}
	// The slots of a model with a draft can be saved, too.
	restart(t, e)
	again := realEngine(t, nil, e.key.Config)
	if _, err := generate(t.Context(), &Provider{Engine: again}, ask(t, llmgateway.Chat, chatBody, false, "hello hello hello and more")); err != nil {
		t.Error(err)
	}
	if failure := again.LastFailure(); failure != nil {
		t.Errorf("after a restart: %+v", failure)
	}
	if len(saved(t, e.key.CacheDir)) == 0 {
		t.Error("nothing was saved")
	}
}

func TestRealServerListsEveryFlag(t *testing.T) {
	help, err := exec.Command(realServer(t), "--help").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	known := strings.FieldsFunc(string(help), func(r rune) bool { return r == ' ' || r == ',' || r == '\n' })
	for _, test := range settings {
		config := Config{ModelPath: "/m.gguf"}
		test.change(&config)
		args := config.args("/1.sock", 1024)
		args = append(args, config.stretched(gguf.Info{Architecture: "llama", ContextLength: 1})...)
		for _, arg := range append(args, "--slot-save-path", "--override-kv", "--yarn-orig-ctx") {
			if strings.HasPrefix(arg, "--") && !slices.Contains(known, arg) {
				t.Errorf("%s: llama-server has no flag %s", test.name, arg)
			}
		}
	}
}

func TestRealServerStretchesItsContext(t *testing.T) {
	model := starterModel(t)
	file, err := gguf.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	trained := int(file.Info().ContextLength)
	e := realEngine(t, nil, Config{ModelPath: model, NCtx: trained * 3 / 2, Tuning: Tuning{RopeScaling: "yarn", RopeScale: 2}})
	lease := acquire(t, e)
	var slots []struct {
		NCtx int `json:"n_ctx"`
	}
	get(t, lease, "/slots", &slots)
	if want := trained * 3 / 2; slots[0].NCtx != want || e.ModelInfo().Context != want {
		t.Errorf("got %d tokens, and %d told, want %d", slots[0].NCtx, e.ModelInfo().Context, want)
	}
	said, err := generate(t.Context(), &Provider{Engine: e}, ask(t, llmgateway.Chat, chatBody, false, "hello"))
	if err != nil {
		t.Error(err, said)
	}
	fmt.Fprintln(t.Output(), "trained for", trained)
}
