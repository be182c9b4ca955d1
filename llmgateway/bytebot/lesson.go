package bytebot

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// lesson is what a target has taught about the requests that it takes. It is a value: what is learned makes another one.
type lesson struct {
	form form
	// without are members of requests that the target does not take.
	without []string
	// completionTokens is true if the target wants max_completion_tokens in place of max_tokens.
	completionTokens bool
	// maxAnswer is the most tokens of an answer that may be asked for, or 0 for no bound.
	maxAnswer int
	// maxBytes is how large a request may be, or 0 for no bound.
	maxBytes int
}

// complaints are words of errors, in lower case, and the form that answers them. Templates raise the first ones, and services
// and servers say the others.
var complaints = []struct {
	words string
	form  form
}{
	{"single tool-call", oneCall},
	{"one tool call at a time", oneCall},
	{"length 9", shortIDs},
	{"length of 9", shortIDs},
	{"system role not supported", plain},
	{"unexpected role 'user' after role 'tool'", alternating},
	{"except for tool calls and results", alternating},
	{"roles must alternate", plain},
	{"reasoning_content", thoughtless},
	{"content and thinking", thoughtless},
	{"no previous assistant message with a tool call", plain},
	{"must define tools", plain},
	{"role 'tool'", plain},
	{"tool role", plain},
}

// dispensable are members that a request may go without.
var dispensable = []string{"reasoning_effort", "tool_choice", "parallel_tool_calls"}

// learn returns what is known after a target has refused a request, which asked for so many tokens, that was sent as l says. ok is
// false if that taught nothing.
func (l lesson) learn(err *llmgateway.Error, maxTokens int) (next lesson, ok bool) {
	switch err.Kind {
	case llmgateway.InvalidRequest, llmgateway.Unsupported, llmgateway.Upstream:
	case llmgateway.ContextLength, llmgateway.ContentFilter, llmgateway.NoModel, llmgateway.Denied, llmgateway.RateLimited,
		llmgateway.Overloaded, llmgateway.Timeout, llmgateway.Canceled:
		return l, false
	}
	said := strings.ToLower(err.Error())
	for _, c := range complaints {
		if strings.Contains(said, c.words) && l.form&c.form == 0 && l.form&plain == 0 {
			l.form |= c.form
			return l, true
		}
	}
	if err.Kind == llmgateway.Upstream {
		return l, false
	}
	for _, name := range dispensable {
		if (err.Param == name || strings.Contains(said, name)) && !slices.Contains(l.without, name) {
			l.without = append(slices.Clip(l.without), name)
			return l, true
		}
	}
	return l.learnTokens(err, said, maxTokens)
}

var numbers = regexp.MustCompile(`\d+`)

// learnTokens learns how a target wants to be told how long an answer may be.
func (l lesson) learnTokens(err *llmgateway.Error, said string, maxTokens int) (next lesson, ok bool) {
	if err.Param != "max_tokens" && !strings.Contains(said, "max_tokens") && !strings.Contains(said, "max_completion_tokens") {
		return l, false
	}
	if strings.Contains(said, "max_completion_tokens") && !l.completionTokens && err.Param != "max_completion_tokens" {
		l.completionTokens = true
		return l, true
	}
	most := 0
	for _, digits := range numbers.FindAllString(said, -1) {
		if n, err := strconv.Atoi(digits); err == nil && n < maxTokens {
			most = max(most, n)
		}
	}
	switch {
	case most > 0 && (l.maxAnswer == 0 || most < l.maxAnswer):
		l.maxAnswer = most
		return l, true
	case !slices.Contains(l.without, "max_tokens"):
		l.without = append(slices.Clip(l.without), "max_tokens")
		return l, true
	}
	return l, false
}

// learnSize learns that a request of a size is too large. ok is false if it could not be made small enough for what was known.
func (l lesson) learnSize(size int) (next lesson, ok bool) {
	if l.maxBytes > 0 && size > l.maxBytes {
		return l, false
	}
	l.maxBytes = size * 3 / 4
	return l, true
}
