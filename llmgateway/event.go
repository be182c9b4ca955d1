package llmgateway

// Event is one piece of an answer, in OpenAI's wire format.
//
// In a stream it is one chunk; otherwise it is the one and only event, the whole answer.
type Event struct {
	// Data is a JSON object. It is valid until the loop's next round: copy what must last.
	Data []byte

	// Carries is true if the event holds something a client can use: content, reasoning, a tool call, a refusal, a
	// finish reason, or a whole answer. A bare role proves nothing. Until the first event that carries something has
	// been passed on, a request may be sent elsewhere.
	Carries bool

	// Empty is true if the event is one of a stream that brings nothing new, such as an empty delta: it is no sign of life.
	Empty bool

	// Whole is true if the event is a whole answer, not a chunk of a stream.
	Whole bool

	// Native is true if Data is in the words of the API that the client uses, as [Request.Native] is, and not in chat's.
	Native bool

	// More is true if the next event is at hand, so that flushing can wait for it.
	More bool

	// FinishReason is the finish reason that came with the event, or empty.
	FinishReason string

	// Usage is the token count that came with the event, or nil.
	Usage *Usage

	// Told is the token count that the client is told in its place, as an [Exchange] may want it, or nil.
	Told *Usage
}

// Usage counts the tokens of one generation, named as in OpenAI's usage object.
type Usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
	// CachedTokens is the part of PromptTokens that a prompt cache held (prompt_tokens_details.cached_tokens).
	CachedTokens int `json:"cached_tokens"`
	// ReasoningTokens is the part of CompletionTokens that was thought and not said
	// (completion_tokens_details.reasoning_tokens), if the provider says so.
	ReasoningTokens int `json:"reasoning_tokens,omitempty"`
	// Cost is what the provider says that the generation cost, in US dollars, or nil.
	Cost *float64 `json:"cost,omitempty"`
}
