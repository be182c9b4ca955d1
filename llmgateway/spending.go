package llmgateway

// Spending is what one attempt has used, whether or not its answer was of use to anybody.
type Spending struct {
	// Attempt says who was asked, and what that one's tokens cost.
	Attempt Attempt

	// Used is what the provider counted if Told is true. If not, it has the tokens of the answer as far as that came, and none of
	// the prompt, which the provider has read.
	Used Usage
	Told bool

	// Unseen is true if the attempt was given up while it made an answer that comes in one piece: nobody knows how far it was.
	Unseen bool
}
