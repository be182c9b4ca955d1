package random

const convolution = 4 // tokens that a state space mixes before it does anything else

// lfm2 has short convolutions in place of most of its attention.
func lfm2(m *model) {
	const reach = 3
	attends := func(block int) bool { return block%3 == 2 }
	kvHeads := make([]int32, m.Blocks)
	for i := range kvHeads {
		if attends(i) {
			kvHeads[i] = int32(m.KVHeads)
		}
	}
	m.set("attention.head_count", m.Heads)
	m.w.Set(m.key("attention.head_count_kv"), kvHeads)
	m.set("feed_forward_length", m.FeedForward)
	m.set("shortconv.l_cache", reach)
	pairs(m.w, m.Vocabulary)
	m.embedding("token_embd_norm")
	m.eachBlock(func(p string, block int) {
		if attends(block) {
			m.heads(p)
			m.headNorms(p)
		} else {
			m.norm(p+"attn_norm", m.Width)
			m.plain(p+"shortconv.conv.weight", reach, m.Width)
			m.matrix(p+"shortconv.in_proj", m.Width, 3*m.Width)
			m.matrix(p+"shortconv.out_proj", m.Width, m.Width)
		}
		m.dense(p)
	})
}

// falconH1 has attention and a state space (Mamba-2) side by side in each block.
func falconH1(m *model) {
	const groups, spaceHead = 1, 64
	spaces := m.Inner / spaceHead
	mixed := m.Inner + 2*groups*m.State
	m.attention()
	m.set("feed_forward_length", m.FeedForward)
	m.set("ssm.conv_kernel", convolution)
	m.set("ssm.inner_size", m.Inner)
	m.set("ssm.state_size", m.State)
	m.set("ssm.time_step_rank", spaces)
	m.set("ssm.group_count", groups)
	pairs(m.w, m.Vocabulary)
	m.embedding("output_norm")
	m.eachBlock(func(p string, _ int) {
		m.matrix(p+"ssm_in", m.Width, m.Inner+mixed+spaces)
		m.plain(p+"ssm_conv1d.weight", convolution, mixed)
		m.bias(p+"ssm_conv1d", mixed)
		m.bias(p+"ssm_dt", spaces)
		m.plain(p+"ssm_a", 1, spaces)
		m.plain(p+"ssm_d", 1, spaces)
		m.matrix(p+"ssm_out", m.Inner, m.Width)
		m.heads(p)
		m.plain(p+"ffn_norm", m.Width) // llama.cpp asks for it without .weight
		m.network(p)
	})
}

// mamba has no attention at all.
func mamba(m *model) {
	rank := (m.Width + 15) / 16
	m.set("ssm.conv_kernel", convolution)
	m.set("ssm.inner_size", m.Inner)
	m.set("ssm.state_size", m.State)
	m.set("ssm.time_step_rank", rank)
	pairs(m.w, m.Vocabulary)
	m.embedding("output_norm")
	m.eachBlock(func(p string, _ int) {
		m.norm(p+"attn_norm", m.Width)
		m.matrix(p+"ssm_in", m.Width, 2*m.Inner)
		m.plain(p+"ssm_conv1d.weight", convolution, m.Inner)
		m.bias(p+"ssm_conv1d", m.Inner)
		m.matrix(p+"ssm_x", m.Inner, rank+2*m.State)
		m.matrix(p+"ssm_dt", rank, m.Inner)
		m.bias(p+"ssm_dt", m.Inner)
		m.plain(p+"ssm_a", m.State, m.Inner)
		m.plain(p+"ssm_d", m.Inner)
		m.matrix(p+"ssm_out", m.Inner, m.Width)
	})
}
