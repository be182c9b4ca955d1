package limit

import (
	"math"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// Tally adds up what one request uses. One goroutine uses it.
//
// Every attempt counts that a provider has worked for, each at its own target's price: one that answered, one that broke off, one
// that was too slow, and both parts of an answer that was finished by another target. A provider's own count is taken where it is
// sent. Where it is not, the prompt counts as estimated and the answer as far as it came; of an attempt at an answer in one
// piece that was given up, which may have been nearly done, all counts that was to be expected.
//
// An answer that was kept, or is made for somebody else, costs nothing, and neither does an attempt that was refused.
type Tally struct {
	req                *llmgateway.Request
	estimated          bool
	prompt, completion int
	dearest            llmgateway.Price

	used   Use
	priced bool
}

// NewTally returns the tally of a request, whose body must stay as long as anything is added. The price is that of the dearest
// target that may answer.
func NewTally(req *llmgateway.Request, dearest llmgateway.Price) *Tally {
	return &Tally{req: req, dearest: dearest}
}

// Estimate returns what the request will use as far as that can be foreseen: one answer, of the dearest target.
func (t *Tally) Estimate() Use {
	t.estimate()
	return use(&llmgateway.Usage{PromptTokens: t.prompt, CompletionTokens: t.completion}, t.dearest)
}

// estimate reads the request, once and only if somebody needs to know.
func (t *Tally) estimate() {
	if !t.estimated {
		t.estimated = true
		t.prompt, t.completion = openai.EstimateTokens(t.req)
	}
}

// Answering takes in who answers.
func (t *Tally) Answering(a llmgateway.Attempt) {
	t.priced = t.priced || a.Price != llmgateway.Price{}
}

// Spent takes in what an attempt has used, and returns what it counts for.
func (t *Tally) Spent(s llmgateway.Spending) Use {
	usage := s.Used
	if !s.Told {
		t.estimate()
		usage.PromptTokens = t.prompt
		if s.Unseen {
			usage.CompletionTokens = t.completion
		}
	}
	u := use(&usage, s.Attempt.Price)
	t.used.Tokens += u.Tokens
	t.used.Cost += u.Cost
	t.priced = t.priced || s.Attempt.Price != llmgateway.Price{} || usage.Cost != nil
	return u
}

// Priced reports whether it is known what the request costs.
func (t *Tally) Priced() bool { return t.priced }

// Use returns what the request has used so far.
func (t *Tally) Use() Use { return t.used }

// mostTokens keeps what providers write from overflowing the counts.
const mostTokens = 1 << 40

// use returns what a usage counts for, at a price.
func use(u *llmgateway.Usage, price llmgateway.Price) Use {
	within := func(n int) int64 { return min(max(int64(n), 0), mostTokens) }
	tokens := max(within(u.TotalTokens), within(u.PromptTokens)+within(u.CompletionTokens))
	return Use{Tokens: tokens, Cost: nanos(price.Cost(u))}
}

// nanos returns US dollars in the unit that they are counted in.
func nanos(dollars float64) int64 {
	return int64(math.Round(min(max(dollars, 0), 1e6) * USD))
}
