package limit

import (
	"math"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// bytesPerToken is for answers that nobody has counted.
const bytesPerToken = 4

// Tally finds out what one request uses while its answer passes. One goroutine uses it.
//
// A provider's own count is taken where it is sent. Where it is not, because the client left or the answer broke, the prompt
// counts as estimated and the answer as far as it came. An answer that was kept, or is made for somebody else, costs
// nothing, and neither does a request that nobody answered; but if its client left before it was answered, the model may
// have read the prompt for nothing, and made the answer of one that does not stream.
type Tally struct {
	req                *llmgateway.Request
	estimated          bool
	prompt, completion int
	price              llmgateway.Price

	free     bool
	answered bool
	usage    *llmgateway.Usage
	whole    int // bytes of an answer that did not come as a stream
	chunks   int // of a stream
	bytes    int // of the chunks
	least    int // bytes of the shortest chunk: what each has besides its text
}

// NewTally returns the tally of a request, whose body must stay until Use has been called. The price is that of the dearest
// target that may answer.
func NewTally(req *llmgateway.Request, dearest llmgateway.Price) *Tally {
	return &Tally{req: req, price: dearest}
}

// Estimate returns what the request will use as far as that can be foreseen.
func (t *Tally) Estimate() Use {
	t.estimate()
	return t.use(t.prompt, t.completion)
}

// estimate reads the request, once and only if somebody needs to know.
func (t *Tally) estimate() {
	if !t.estimated {
		t.estimated = true
		t.prompt, t.completion = openai.EstimateTokens(t.req)
	}
}

// Answering takes in who answers, before the first event.
func (t *Tally) Answering(a llmgateway.Attempt) { t.answered, t.price = true, a.Price }

// Cached takes in what the cache did for the attempt that is made now.
func (t *Tally) Cached(use llmgateway.CacheUse) {
	t.free = use.Result == llmgateway.CacheHit || use.Result == llmgateway.CacheShared
}

// Inherited takes in that a shared answer goes on on this request's account: otherwise whoever asks twice and leaves once
// would get it for nothing.
func (t *Tally) Inherited() { t.free = false }

// Observe takes in an event.
func (t *Tally) Observe(event *llmgateway.Event) {
	if event.Usage != nil {
		t.usage = event.Usage
	}
	switch {
	case event.Whole:
		t.whole += len(event.Data)
	case event.Carries && event.FinishReason == "":
		if t.chunks == 0 || len(event.Data) < t.least {
			t.least = len(event.Data)
		}
		t.chunks++
		t.bytes += len(event.Data)
	}
}

// Priced reports whether it is known what the answer costs.
func (t *Tally) Priced() bool {
	return t.answered && t.price != (llmgateway.Price{}) || t.usage != nil && t.usage.Cost != nil
}

// Use returns what the request has used. err is how it ended.
func (t *Tally) Use(err error) Use {
	switch {
	case t.free:
		return Use{}
	case t.usage != nil && *t.usage != (llmgateway.Usage{}):
		tokens := max(t.usage.TotalTokens, t.usage.PromptTokens+t.usage.CompletionTokens)
		return Use{Tokens: int64(max(0, tokens)), Cost: nanos(t.price.Cost(t.usage))}
	case t.answered:
		t.estimate()
		return t.use(t.prompt, t.seen())
	case err == nil || llmgateway.AsError(err).Kind != llmgateway.Canceled:
		return Use{}
	case t.req.ClientStream:
		t.estimate()
		return t.use(t.prompt, 0)
	default:
		return t.Estimate()
	}
}

// seen guesses the tokens of the answer as far as it came. Most servers send a chunk for each token.
func (t *Tally) seen() int {
	if t.whole > 0 {
		return min(t.completion, t.whole/bytesPerToken)
	}
	return max(t.chunks, (t.bytes-t.chunks*t.least)/bytesPerToken)
}

func (t *Tally) use(prompt, completion int) Use {
	usage := llmgateway.Usage{PromptTokens: prompt, CompletionTokens: completion}
	return Use{Tokens: int64(prompt + completion), Cost: nanos(t.price.Cost(&usage))}
}

// nanos returns US dollars in the unit that they are counted in.
func nanos(dollars float64) int64 {
	return int64(math.Round(min(dollars, 1e6) * USD))
}
