package bytebot

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/toolcall"
)

// statusTool is the tool with which a model ends a task or asks for help.
const statusTool = "set_task_status"

// RetryField is the header field in which the agent's SDK counts its retries of a request, from 0.
const RetryField = "X-Stainless-Retry-Count"

const (
	// maxRetries is how often the agent repeats a request before it gives the task up.
	maxRetries = 2
	// maxRetryAfter is the longest Retry-After that the agent waits for. It comes back within seconds if told to wait longer.
	maxRetryAfter = time.Minute
)

// visible answers a request. If it fails for good, or the model goes round in circles, the answer asks the user for help: the
// agent gives up a task without a word when it gets an error, and such a task cannot be resumed.
func (x *exchange) visible(ctx context.Context, req *llmgateway.Request, ask llmgateway.Generate) iter.Seq2[llmgateway.Event, error] {
	if !x.status {
		return ask(ctx, req)
	}
	if x.streak.reached(x.adapter.config.loopHelp()) {
		err := &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the model repeats itself"}
		return x.help(ctx, req, x.streak.help(), err)
	}
	if x.adapter.config.ShowErrors {
		return ask(ctx, req)
	}
	return func(yield func(llmgateway.Event, error) bool) {
		begun := false
		for event, err := range ask(ctx, req) {
			if err == nil || begun || x.mayRetry(ctx, err) {
				begun = true
				if !yield(event, err) {
					return
				}
				continue
			}
			for event, err := range x.help(ctx, req, explain(llmgateway.AsError(err)), err) {
				if !yield(event, err) {
					return
				}
			}
			return
		}
	}
}

// mayRetry reports whether the agent is to be told of an error, since it has left or a retry of its own may help.
func (x *exchange) mayRetry(ctx context.Context, err error) bool {
	e := llmgateway.AsError(err)
	if e.Kind == llmgateway.Canceled || ctx.Err() != nil {
		return true
	}
	if late := llmgateway.ContextTrace(ctx).Late; late != nil && late() {
		return false
	}
	if x.retries < 0 || x.retries >= maxRetries || e.RetryAfter > maxRetryAfter {
		return false
	}
	switch e.Kind {
	case llmgateway.RateLimited, llmgateway.Overloaded, llmgateway.Upstream:
		return true
	default: // the next try would fail as this one did, or take as long
		return false
	}
}

// retriesOf returns how often the agent has sent a request before, or -1 if it does not say.
func retriesOf(req *llmgateway.Request) int {
	if values := req.Header[RetryField]; len(values) > 0 {
		if n, err := strconv.Atoi(values[0]); err == nil {
			return n
		}
	}
	return -1
}

// help yields an answer that asks the user for help.
func (x *exchange) help(ctx context.Context, req *llmgateway.Request, words string, err error) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		if concealed := llmgateway.ContextTrace(ctx).Concealed; concealed != nil {
			concealed(err)
		}
		answer := func(yield func(llmgateway.Event, error) bool) {
			yield(llmgateway.Event{Data: helpAnswer(req.Model, words), Carries: true, Whole: true, FinishReason: "tool_calls"}, nil)
		}
		if !req.ClientStream {
			answer(yield)
			return
		}
		openai.Split(answer)(yield)
	}
}

// helpAnswer returns an answer with one call, which asks for help.
func helpAnswer(model, words string) []byte {
	arguments, err := json.Marshal(map[string]string{"status": "needs_help", "description": words})
	if err != nil { // strings always marshal
		panic(err)
	}
	id := toolcall.NewID()
	return fmt.Appendf(nil, `{"id":"chatcmpl-%s","object":"chat.completion","created":%d,"model":%s,"choices":[{"index":0,"message":{"role":"assistant","content":null,`+
		`"tool_calls":[{"id":"%s","type":"function","function":{"name":"%s","arguments":%s}}]},"finish_reason":"tool_calls","logprobs":null}],`+
		`"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}`,
		id, time.Now().Unix(), quote(model), id, statusTool, quote(string(arguments)))
}

// advice is what went wrong, in plain words, and what the user can do about it.
var advice = map[llmgateway.Kind]string{
	llmgateway.RateLimited:    "The service that runs the model takes no more requests for now. Resume the task later, or choose another model.",
	llmgateway.Overloaded:     "The model is busy or not available now. Resume the task in a while, or choose another model.",
	llmgateway.Timeout:        "The model took too long to answer. Resume the task to try again, or choose a faster model.",
	llmgateway.ContextLength:  "The conversation has become too long for the model. Start a new task for the rest, or choose a model with a longer context.",
	llmgateway.Unsupported:    "The model cannot do what this task needs, such as to see images or to call tools. Choose another model.",
	llmgateway.Denied:         "The service that runs the model refuses the gateway's key, or its credit is used up. Whoever runs the gateway has to look into it; then resume the task.",
	llmgateway.NoModel:        "The model of this task is not there any more. Start the task again with another model.",
	llmgateway.ContentFilter:  "The service that runs the model refuses the content of this conversation. Rephrase the task, or choose another model.",
	llmgateway.InvalidRequest: "The model refuses the request. Choose another model, or start the task again.",
	llmgateway.Upstream:       "The model failed. Resume the task to try again, or choose another model.",
}

// explain says what the user is told of an error.
func explain(e *llmgateway.Error) string {
	words := cmp.Or(advice[e.Kind], advice[llmgateway.Upstream])
	if e.Code == tooLarge {
		words = "The conversation is larger than the service takes that runs the model. Choose another model, or start a new task for the rest."
	}
	if e.RetryAfter > 0 {
		words += " It asks to wait " + e.RetryAfter.Round(time.Second).String() + "."
	}
	if said := clean(e.Message); said != "" {
		words += " What was reported: " + said
	}
	return words
}

// private are addresses and what looks like a key.
var private = regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]*://\S+|\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b|\[[0-9a-f:.]+\](:\d+)?|\b[0-9a-f]{1,4}(:[0-9a-f]{0,4}){3,}|::[0-9a-f]+|\b[a-z0-9-]+(\.[a-z0-9-]+)*:\d{2,5}\b|\b(sk|hf|key|pk|gsk|xai)[-_][\w-]{6,}|\b[\w+/-]{32,}=*|\bbearer\s+\S+|(^|[\s"'=(])/[\w.-]+(/[\w.-]+)+|\b[a-z0-9-]+(\.[a-z0-9-]+)*\.(internal|local|localdomain|lan|corp|svc|home|test|[a-z]{2,}\.[a-z]{2,})\b|\b(api[-_ ]?key|key|token|secret|password)\b\W{0,3}\S*[0-9]\S{5,}`)

// clean takes out of a message what is not for the user's eyes, and keeps it short.
func clean(message string) string {
	return shorten(strings.Join(strings.Fields(private.ReplaceAllString(message, "(hidden)")), " "))
}
