package bytebot

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// tokenMembers say how long an answer may be.
var tokenMembers = []string{"max_tokens", "max_completion_tokens"}

// maxTokens returns how long the answer may be, or 0 if the request does not say it.
func (t *attempt) maxTokens() int {
	for _, name := range tokenMembers {
		if m, ok := t.req.Lookup(name); ok {
			if n, err := strconv.Atoi(string(t.req.Raw(m))); err == nil {
				return n
			}
		}
	}
	return 0
}

// parameters returns the request with the members that the target takes.
func (t *attempt) parameters(req *llmgateway.Request) *llmgateway.Request {
	var removed []string
	if !t.x.adapter.config.KeepParameters {
		removed = slices.Concat(t.lesson.without, t.options.Without)
	}
	next := *req
	for _, name := range removed {
		if _, ok := req.Lookup(name); ok {
			next.Edits = append(slices.Clip(next.Edits), llmgateway.Edit{Name: name})
		}
	}
	t.limit(&next, removed)
	_, chosen := req.Lookup("tool_choice")
	if t.x.status && !chosen && !t.x.adapter.config.FreeToTalk && !slices.Contains(removed, "tool_choice") {
		next.Additions = append(slices.Clip(next.Additions), llmgateway.Edit{Name: "tool_choice", Value: `"required"`})
	}
	return &next
}

// limit bounds how long an answer may be by what is left of the context, and by what the target takes, and says it with the member
// that the target wants.
func (t *attempt) limit(next *llmgateway.Request, removed []string) {
	asked := t.maxTokens()
	if asked <= 0 {
		return
	}
	most := asked
	if t.lesson.maxAnswer > 0 {
		most = min(most, t.lesson.maxAnswer)
	}
	if context := t.to.Limits.Context; context > 0 && t.prompt > 0 {
		// The prompt is estimated; a part of the context is for what that is wrong by.
		most = min(most, max(context-t.prompt-context/32, min(leastAnswer, context/leastShare)))
	}
	for _, name := range tokenMembers {
		if _, ok := next.Lookup(name); !ok || slices.Contains(removed, name) {
			continue
		}
		switch rename := name == "max_tokens" && t.lesson.completionTokens; {
		case rename:
			next.Edits = append(slices.Clip(next.Edits), llmgateway.Edit{Name: name})
			next.Additions = append(slices.Clip(next.Additions), llmgateway.Edit{Name: "max_completion_tokens", Value: strconv.Itoa(most)})
		case most != asked:
			next.Edits = append(slices.Clip(next.Edits), llmgateway.Edit{Name: name, Value: strconv.Itoa(most)})
		}
	}
}

// identity returns what the answers of an adapter with this configuration depend on.
func (c Config) identity() string {
	return fmt.Sprint("bytebot 1 ", c.KeepMessages, c.KeepEqualImages, c.KeepWindow, c.KeepParameters, c.FreeToTalk, c.KeepCalls, c.Options, c.Targets)
}
