package route

import "github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"

// A Policy chooses the target of the next attempt. candidates is never empty; it holds the targets that have not been
// tried for this request or, when all have, those worth asking again, in configured order.
//
// Select may be called from many goroutines at once.
type Policy interface {
	Select(candidates []*Target, req *llmgateway.Request) *Target
}

// First takes the targets in the order they are written. It is the default.
type First struct{}

// Select implements Policy.
func (First) Select(candidates []*Target, _ *llmgateway.Request) *Target { return candidates[0] }
