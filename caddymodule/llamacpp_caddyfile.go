package caddymodule

import "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

// UnmarshalCaddyfile sets up the provider from Caddyfile tokens:
//
//	llamacpp <file.gguf>|<folder>/ {
//		n_ctx         <tokens>         # context of one request, prompt and answer; default: what the model was trained for
//		n_batch       <tokens>         # prompt tokens processed at once; default: llama-server's (2048)
//		n_threads     <n>              # default: one for each physical core
//		n_gpu_layers  <n>|all          # layers on the GPU; default: as many as fit
//		n_parallel    <n>              # generations at once; each has n_ctx of its own; default: 1
//		max_queue     <n>              # requests that wait for their turn; one more goes to the next target; default: 64
//		max_wait      <duration>       # to the first token; a request that would wait longer goes to the next target; default: no bound
//		mmproj        <file.gguf>|auto # vision projector; with one the model sees images; auto: the one beside the model, if any
//		f16_kv        [true|false]     # KV cache in f16 or in f32; default: true
//		cache_type_k  <type>           # KV cache in another type, such as q8_0
//		cache_type_v  <type>           # needs flash attention if quantised
//		cache_ram     <size>           # host memory for prompts whose slot went to another request; default: none
//		cache_dir     <folder>         # keep what was read of conversations while the model is not loaded; default: nowhere
//		embeddings    [<pooling>]      # serve embeddings too; pooling is mean unless named; default: off
//		use_mlock     [true|false]     # keep the model from being swapped out; default: false
//		use_mmap      [true|false]     # map the file instead of reading it; default: true
//		preload       [true|false]     # load when Caddy starts, not at the first request; default: false
//		preload       <model...>       # of a folder: load these when Caddy starts, or when they appear; default: none
//		keep_alive    <duration>       # unload after that long without a request; default: never
//		n_ubatch           <tokens>          # prompt tokens computed in one step; default: llama-server's (512)
//		n_threads_batch    <n>               # threads that read prompts; default: n_threads
//		n_cpu_moe          <n>               # layers whose experts stay in host memory; default: none
//		flash_attn         on|off|auto       # default: auto, where the hardware has it
//		split_mode         layer|row|tensor|none    # how several GPUs share the model; default: layer
//		tensor_split       <share,...>       # of each GPU, such as 3,1; default: by their free memory
//		main_gpu           <n>               # for a model that is not split; default: 0
//		rope_scaling       linear|yarn|none  # default: as the model says, or linear
//		rope_scale         <factor>          # context that many times longer than in training; default: 1
//		rope_freq_base     <number>          # default: the model's own
//		lora               <file.gguf> [<scale>]    # adapter for the model (repeatable)
//		model_draft        <file.gguf>       # small model that guesses ahead: same answers, sooner; default: none
//		n_draft            <tokens>          # that it guesses at once; default: llama-server's (3)
//		chat_template      <jinja>|<name>    # default: the model's own
//		chat_template_file <file>
//		reasoning_format   deepseek|none|deepseek-legacy|auto    # where thoughts go; default: into reasoning_content
//		reasoning_budget   <tokens>          # how long it may think; 0: not at all, -1: as it likes; default: -1
//
//		llama_server  <path>           # default: $LLAMA_SERVER, then PATH, then the project's own build
//		args          <flag...>        # further flags for llama-server (repeatable)
//	}
func (l *LlamaCPP) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the provider's type
	if !d.AllArgs(&l.Path) {
		return d.Errf("provider llamacpp takes a model file or a folder of models: llamacpp <file.gguf>|<folder>/")
	}
	seen := make(seenWords)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.add(d, "args", "lora"); err != nil {
			return err
		}
		if err := l.unmarshalWord(d); err != nil {
			return err
		}
	}
	return nil
}

// unmarshalWord parses one line of the block.
func (l *LlamaCPP) unmarshalWord(d *caddyfile.Dispenser) error {
	if known, err := l.LlamaTuning.unmarshalWord(d); known {
		return err
	}
	switch word := d.Val(); word {
	case "n_ctx":
		return unmarshalInt(d, &l.NCtx)
	case "n_batch":
		return unmarshalInt(d, &l.NBatch)
	case "n_threads":
		return unmarshalInt(d, &l.NThreads)
	case "n_gpu_layers":
		return unmarshalString(d, &l.NGPULayers)
	case "n_parallel":
		return unmarshalInt(d, &l.NParallel)
	case "max_queue":
		l.MaxQueue = new(int)
		return unmarshalInt(d, l.MaxQueue)
	case "max_wait":
		return unmarshalDuration(d, &l.MaxWait)
	case "mmproj":
		return unmarshalString(d, &l.MMProj)
	case "f16_kv":
		l.F16KV = new(bool)
		return unmarshalBool(d, l.F16KV)
	case "cache_type_k":
		return unmarshalString(d, &l.CacheTypeK)
	case "cache_type_v":
		return unmarshalString(d, &l.CacheTypeV)
	case "cache_ram":
		return unmarshalSize(d, &l.CacheRAM)
	case "cache_dir":
		return unmarshalString(d, &l.CacheDir)
	case "embeddings":
		l.Embeddings = "mean"
		if d.NextArg() {
			l.Embeddings = d.Val()
		}
		if d.NextArg() {
			return d.ArgErr()
		}
		return nil
	case "use_mlock":
		return unmarshalBool(d, &l.UseMlock)
	case "use_mmap":
		l.UseMmap = new(bool)
		return unmarshalBool(d, l.UseMmap)
	case "preload":
		return l.unmarshalPreload(d)
	case "keep_alive":
		return unmarshalDuration(d, &l.KeepAlive)
	case "llama_server":
		return unmarshalString(d, &l.LlamaServer)
	case "args":
		args := d.RemainingArgs()
		if len(args) == 0 {
			return d.ArgErr()
		}
		l.Args = append(l.Args, args...)
		return nil
	default:
		return d.Errf("unrecognized word %s in provider llamacpp; there are: n_ctx, n_batch, n_threads, n_gpu_layers, n_parallel, max_queue, max_wait, mmproj, f16_kv, cache_type_k, cache_type_v, cache_ram, cache_dir, embeddings, use_mlock, use_mmap, preload, keep_alive, llama_server, args, "+tuningWords, word)
	}
}

// unmarshalPreload parses a truth value for a single model, or names for a folder.
func (l *LlamaCPP) unmarshalPreload(d *caddyfile.Dispenser) error {
	switch args := d.RemainingArgs(); {
	case len(args) == 0, len(args) == 1 && args[0] == "true":
		l.Preload = true
	case len(args) == 1 && args[0] == "false":
	case args[0] == "true", args[0] == "false":
		return d.Err("preload: write true, false, nothing or the names of a folder's models behind it")
	default:
		l.PreloadModels = args
	}
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*LlamaCPP)(nil)
