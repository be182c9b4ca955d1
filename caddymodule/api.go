package caddymodule

import (
	"iter"
	"net/http"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/anthropic"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/responses"
)

// api is how the requests of an endpoint are read, and how it answers.
type api struct {
	// read takes over the body's reference unless it fails.
	read func(*llmgateway.Body) (*llmgateway.Request, error)
	// forward are header fields that go to whoever speaks the API.
	forward []string
	write   func(http.ResponseWriter, *llmgateway.Request, iter.Seq2[llmgateway.Event, error], *openai.Pinger, func() string) error
	fail    func(http.ResponseWriter, error)
}

// openAI returns the API that the core speaks itself.
func openAI(op llmgateway.Operation) api {
	return api{
		read:  func(body *llmgateway.Body) (*llmgateway.Request, error) { return openai.Read(op, body) },
		write: openai.Write,
		fail:  openai.WriteError,
	}
}

// messages is Anthropic's API.
var messages = api{
	read: anthropic.Read, forward: []string{"Anthropic-Version", "Anthropic-Beta"},
	write: anthropic.Write, fail: anthropic.WriteError,
}

// apiOf returns the API that a path belongs to, for errors in its words.
func apiOf(path string) api {
	if rest, versioned := endpoint(path); versioned && (rest == "/messages" || strings.HasPrefix(rest, "/messages/")) {
		return messages
	}
	return openAI(llmgateway.Chat)
}

func (a api) wrongMethod(w http.ResponseWriter, allowed string) {
	w.Header().Set("Allow", allowed)
	a.fail(w, &llmgateway.Error{
		Kind: llmgateway.InvalidRequest, Status: http.StatusMethodNotAllowed,
		Message: "this endpoint takes only " + allowed,
	})
}

// response is OpenAI's newer API.
var response = api{read: responses.Read, write: responses.Write, fail: openai.WriteError}

// release gives up the bodies of a request.
func release(req *llmgateway.Request) {
	req.Body.Release()
	if req.Native != nil {
		req.Native.Body.Release()
	}
}

// countTokens says about how many tokens a request of Anthropic's API has.
func (h *Handler) countTokens(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		messages.wrongMethod(w, "POST")
		return nil
	}
	req, err := h.read(r, messages)
	if err == nil {
		defer release(req)
		err = h.table.Check(req)
	}
	if err != nil {
		messages.fail(w, err)
		return nil
	}
	return writeJSON(w, http.StatusOK, map[string]int{"input_tokens": openai.PromptTokens(req)})
}
