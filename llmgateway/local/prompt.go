package local

import (
	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// withOnePrompt returns a completion request for a server with a vision projector. Such a server, in version 0.5.0, takes a
// string for a prompt and fails on a list. A list of one string, which many clients send, becomes that string; anything
// else is refused, so that another target can have it.
func withOnePrompt(req *llmgateway.Request) (*llmgateway.Request, error) {
	m, ok := req.Lookup("prompt")
	if !ok || req.Raw(m)[0] != '[' {
		return req, nil
	}
	prompts := gjson.ParseBytes(req.Raw(m)).Array()
	if len(prompts) != 1 || prompts[0].Type != gjson.String {
		return nil, &llmgateway.Error{
			Kind: llmgateway.Unsupported, Param: "prompt",
			Message: "the local model, since it has a vision projector, completes one text at a time; send a prompt that is a string",
		}
	}
	return edited(req, llmgateway.Edit{Name: "prompt", Value: prompts[0].Raw}), nil
}
