package llmgateway

// Price is what the tokens of a model cost, in US dollars for a million of them. The zero value is a model that costs
// nothing, or whose price is not known.
type Price struct {
	// Prompt and Completion are for what goes in and what comes out.
	Prompt, Completion float64
	// Cached is for the part of a prompt that the provider's cache held.
	Cached float64
}

// Cost returns what a generation cost, in US dollars. What the provider says itself counts more than p.
func (p Price) Cost(u *Usage) float64 {
	if u == nil {
		return 0
	}
	if u.Cost != nil {
		return max(0, *u.Cost)
	}
	cached := min(max(u.CachedTokens, 0), u.PromptTokens)
	return (p.Prompt*float64(u.PromptTokens-cached) + p.Cached*float64(cached) + p.Completion*float64(u.CompletionTokens)) / 1e6
}
