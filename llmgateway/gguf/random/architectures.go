package random

// architectures is what llama.cpp expects of each: its models/*.cpp, in the same order.
var architectures = map[string]func(*model){
	"llama":     llama,
	"qwen2":     qwen2,
	"qwen3":     qwen3,
	"gemma3":    gemma3,
	"phi3":      phi3,
	"qwen3moe":  qwen3moe,
	"deepseek2": deepseek2,
	"gpt-oss":   gptOSS,
	"lfm2":      lfm2,
	"falcon-h1": falconH1,
	"mamba":     mamba,
}

// attention describes heads.
func (m *model) attention() {
	m.set("attention.head_count", m.Heads)
	m.set("attention.head_count_kv", m.KVHeads)
	m.set("attention.key_length", m.HeadSize)
	m.set("attention.value_length", m.HeadSize)
	m.set("rope.dimension_count", m.HeadSize)
}

// heads adds a block's attention.
func (m *model) heads(p string) {
	m.norm(p+"attn_norm", m.Width)
	m.matrix(p+"attn_q", m.Width, m.Heads*m.HeadSize)
	m.matrix(p+"attn_k", m.Width, m.KVHeads*m.HeadSize)
	m.matrix(p+"attn_v", m.Width, m.KVHeads*m.HeadSize)
	m.matrix(p+"attn_output", m.Heads*m.HeadSize, m.Width)
}

func (m *model) headBiases(p string) {
	m.bias(p+"attn_q", m.Heads*m.HeadSize)
	m.bias(p+"attn_k", m.KVHeads*m.HeadSize)
	m.bias(p+"attn_v", m.KVHeads*m.HeadSize)
}

func (m *model) headNorms(p string) {
	m.norm(p+"attn_q_norm", m.HeadSize)
	m.norm(p+"attn_k_norm", m.HeadSize)
}

// dense adds a block's feed-forward network.
func (m *model) dense(p string) {
	m.norm(p+"ffn_norm", m.Width)
	m.network(p)
}

func (m *model) network(p string) {
	m.matrix(p+"ffn_gate", m.Width, m.FeedForward)
	m.matrix(p+"ffn_up", m.Width, m.FeedForward)
	m.matrix(p+"ffn_down", m.FeedForward, m.Width)
}

// experts adds a block's feed-forward networks, and what chooses among them.
func (m *model) experts(p string) {
	m.plain(p+"ffn_gate_inp.weight", m.Width, m.Experts)
	m.matrix(p+"ffn_gate_exps", m.Width, m.FeedForward, m.Experts)
	m.matrix(p+"ffn_up_exps", m.Width, m.FeedForward, m.Experts)
	m.matrix(p+"ffn_down_exps", m.FeedForward, m.Width, m.Experts)
}

func (m *model) describeExperts() {
	m.set("expert_count", m.Experts)
	m.set("expert_used_count", m.ExpertsUsed)
	m.set("expert_feed_forward_length", m.FeedForward)
}

func llama(m *model) {
	m.attention()
	m.set("feed_forward_length", m.FeedForward)
	pieces(m.w, m.Vocabulary)
	m.embedding("output_norm")
	m.output()
	m.eachBlock(func(p string, _ int) {
		m.heads(p)
		m.dense(p)
	})
}

func qwen2(m *model) {
	m.attention()
	m.set("feed_forward_length", m.FeedForward)
	pairs(m.w, m.Vocabulary)
	m.embedding("output_norm")
	m.eachBlock(func(p string, _ int) {
		m.heads(p)
		m.headBiases(p)
		m.dense(p)
	})
}

func qwen3(m *model) {
	m.attention()
	m.set("feed_forward_length", m.FeedForward)
	pairs(m.w, m.Vocabulary)
	m.embedding("output_norm")
	m.eachBlock(func(p string, _ int) {
		m.heads(p)
		m.headNorms(p)
		m.dense(p)
	})
}

func gemma3(m *model) {
	m.attention()
	m.set("feed_forward_length", m.FeedForward)
	m.set("attention.sliding_window", m.Window)
	m.w.Set(m.key("final_logit_softcapping"), float32(30))
	pieces(m.w, m.Vocabulary)
	m.embedding("output_norm")
	m.eachBlock(func(p string, _ int) {
		m.heads(p)
		m.headNorms(p)
		m.norm(p+"post_attention_norm", m.Width)
		m.dense(p)
		m.norm(p+"post_ffw_norm", m.Width)
	})
}

func phi3(m *model) {
	m.attention()
	m.set("feed_forward_length", m.FeedForward)
	m.set("attention.sliding_window", m.Window)
	pieces(m.w, m.Vocabulary)
	m.embedding("output_norm")
	m.output()
	m.eachBlock(func(p string, _ int) {
		m.norm(p+"attn_norm", m.Width)
		m.matrix(p+"attn_qkv", m.Width, (m.Heads+2*m.KVHeads)*m.HeadSize)
		m.matrix(p+"attn_output", m.Width, m.Width)
		m.norm(p+"ffn_norm", m.Width)
		m.matrix(p+"ffn_up", m.Width, 2*m.FeedForward)
		m.matrix(p+"ffn_down", m.FeedForward, m.Width)
	})
}

func qwen3moe(m *model) {
	m.attention()
	m.describeExperts()
	pairs(m.w, m.Vocabulary)
	m.embedding("output_norm")
	m.output()
	m.eachBlock(func(p string, _ int) {
		m.heads(p)
		m.headNorms(p)
		m.norm(p+"ffn_norm", m.Width)
		m.experts(p)
	})
}

// deepseek2 compresses keys and values to Rank numbers, and adds some that carry the position.
func deepseek2(m *model) {
	const positions, queryRank = 32, 256
	m.set("attention.head_count", m.Heads)
	m.set("attention.head_count_kv", 1)
	m.set("attention.key_length", m.Rank+positions)
	m.set("attention.value_length", m.Rank)
	m.set("attention.key_length_mla", m.HeadSize+positions)
	m.set("attention.value_length_mla", m.HeadSize)
	m.set("attention.q_lora_rank", queryRank)
	m.set("attention.kv_lora_rank", m.Rank)
	m.set("rope.dimension_count", positions)
	m.set("feed_forward_length", 4*m.FeedForward)
	m.set("leading_dense_block_count", 1)
	m.set("expert_shared_count", 1)
	m.describeExperts()
	pairs(m.w, m.Vocabulary)
	m.embedding("output_norm")
	m.output()
	m.eachBlock(func(p string, block int) {
		m.norm(p+"attn_norm", m.Width)
		m.norm(p+"attn_q_a_norm", queryRank)
		m.norm(p+"attn_kv_a_norm", m.Rank)
		m.matrix(p+"attn_q_a", m.Width, queryRank)
		m.matrix(p+"attn_q_b", queryRank, m.Heads*(m.HeadSize+positions))
		m.matrix(p+"attn_kv_a_mqa", m.Width, m.Rank+positions)
		// Of a type that llama.cpp leaves as it is: on CPUs with AMX it fails to use its rearranged copy of these.
		m.plain(p+"attn_k_b.weight", m.HeadSize, m.Rank, m.Heads)
		m.plain(p+"attn_v_b.weight", m.Rank, m.HeadSize, m.Heads)
		m.matrix(p+"attn_output", m.Heads*m.HeadSize, m.Width)
		m.norm(p+"ffn_norm", m.Width)
		if block == 0 {
			m.matrix(p+"ffn_gate", m.Width, 4*m.FeedForward)
			m.matrix(p+"ffn_up", m.Width, 4*m.FeedForward)
			m.matrix(p+"ffn_down", 4*m.FeedForward, m.Width)
			return
		}
		m.experts(p)
		m.matrix(p+"ffn_gate_shexp", m.Width, m.FeedForward)
		m.matrix(p+"ffn_up_shexp", m.Width, m.FeedForward)
		m.matrix(p+"ffn_down_shexp", m.FeedForward, m.Width)
	})
}

func gptOSS(m *model) {
	m.attention()
	m.describeExperts()
	m.set("attention.sliding_window", m.Window)
	pairs(m.w, m.Vocabulary)
	m.embedding("output_norm")
	m.output()
	m.eachBlock(func(p string, _ int) {
		m.heads(p)
		m.headBiases(p)
		m.bias(p+"attn_output", m.Width)
		m.plain(p+"attn_sinks.weight", m.Heads)
		m.norm(p+"post_attention_norm", m.Width)
		m.experts(p)
		m.bias(p+"ffn_gate_inp", m.Experts)
		m.bias(p+"ffn_gate_exps", m.FeedForward, m.Experts)
		m.bias(p+"ffn_up_exps", m.FeedForward, m.Experts)
		m.bias(p+"ffn_down_exps", m.Width, m.Experts)
	})
}
