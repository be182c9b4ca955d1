package route

import (
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// Dearest returns the highest prices among the targets that may answer a request, with any of the models that its client lists.
func (t *Table) Dearest(req *llmgateway.Request) (dearest llmgateway.Price) {
	names, err := openai.Models(req)
	if err != nil {
		names = []string{req.Model} // it will be refused
	}
	for _, name := range names {
		router := t.find(name).router
		if router == nil {
			continue
		}
		for _, target := range router.Targets {
			if req.Provider == "" || req.Provider == target.Name {
				dearest.Prompt = max(dearest.Prompt, target.Price.Prompt)
				dearest.Completion = max(dearest.Completion, target.Price.Completion)
			}
		}
	}
	dearest.Cached = dearest.Prompt
	return dearest
}
