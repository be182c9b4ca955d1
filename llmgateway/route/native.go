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
