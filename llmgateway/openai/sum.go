package openai

import (
	"strconv"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// part is what one provider has had to do with an answer that several made.
type part struct {
	began  bool
	chunks int               // with text
	usage  *llmgateway.Usage // as it tells, or nil
	prefix int               // chunks that it was given to go on from
}

// take takes in an event as the provider sent it.
func (p *part) take(event llmgateway.Event) {
	p.began = true
	if event.Usage != nil {
		p.usage = event.Usage
	}
}

// sum is what several providers have used for one answer. A prompt that nobody counted is taken to be as long as the one that
// the last of them counted: it is the same.
type sum struct {
	prompt, completion int
	untold             int // parts whose prompt nobody counted
	cost               float64
	unpriced           bool // somebody did not tell the cost
}

func (s *sum) add(p part) {
	if !p.began {
		return
	}
	s.completion += p.chunks
	if p.usage == nil {
		s.untold++
		s.unpriced = true
		return
	}
	s.completion += max(0, p.usage.CompletionTokens-p.chunks)
	s.prompt += p.usage.PromptTokens
	if p.usage.Cost == nil {
		s.unpriced = true
	} else {
		s.cost += *p.usage.Cost
	}
}

// with returns the usage of all, the one that tells it now being the last.
func (s *sum) with(p part, usage llmgateway.Usage) *llmgateway.Usage {
	usage.PromptTokens += s.prompt + s.untold*max(0, usage.PromptTokens-p.prefix)
	usage.CompletionTokens += s.completion
	usage.TotalTokens = usage.PromptTokens + usage.CompletionTokens
	if usage.Cost != nil && s.unpriced {
		usage.Cost = nil
	} else if usage.Cost != nil {
		usage.Cost = new(*usage.Cost + s.cost)
	}
	return &usage
}

// usageMembers returns the members of a usage object that a sum changes.
func usageMembers(usage *llmgateway.Usage) map[string]string {
	cost := "null"
	if usage.Cost != nil {
		cost = strconv.FormatFloat(*usage.Cost, 'g', -1, 64)
	}
	return map[string]string{
		"prompt_tokens": strconv.Itoa(usage.PromptTokens), "completion_tokens": strconv.Itoa(usage.CompletionTokens),
		"total_tokens": strconv.Itoa(usage.TotalTokens), "cost": cost,
	}
}
