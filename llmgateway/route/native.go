package route

import (
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// native returns the request in the words of the client's API, if it is another than chat's and the target's provider speaks
// it, and nil otherwise.
func (t *Target) native(p llmgateway.Provider, req *llmgateway.Request) *llmgateway.Request {
	if req.Native == nil || req.Exchange != nil { // adapters know chats only
		return nil
	}
	if s, ok := p.(llmgateway.Speaker); ok && s.Speaks(req.Native.Operation) {
		return req.Native
	}
	return nil
}

// TakesNative reports whether any target might be sent the request in the words of the client's API. If none is, the client's own
// conversation need not be kept beside its translation.
func (t *Table) TakesNative(req *llmgateway.Request) bool {
	for _, router := range t.Models {
		for _, target := range router.Targets {
			p := target.provider(req.Model)
			if p != nil && target.native(p, req) != nil && llmgateway.StatusOf(p).State != llmgateway.StateDisabled {
				return true
			}
		}
	}
	return false
}
