package local

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// job is one request in a queue: what is known of it, and where it stands. The queue's mutex guards what is below.
type job struct {
	stream    bool
	chat      bool  // it generates, and is not one of several tasks, whose slots llama-server chooses
	embeds    bool  // it generates nothing
	width     int   // slots that it takes
	prompt    chain // empty if nobody wants to know it
	size      size  // of the prompt
	maxTokens int   // that the client wants of each answer, or 0
	wish      int   // the slot that the client names, or -1

	tokens atomic.Int64 // that came
	timing timings      // at the end

	came   time.Time
	turn   chan struct{} // closed when it is let in
	slots  []int         // once it is let in; the first is the one that processes the prompt
	shared int           // links that its slot had in common with the prompt
	fresh  size          // of the prompt, without what its slot had

	sent    time.Time // to the server; zero before
	first   time.Time // when the first token came, or is thought to have come if the answer is not streamed
	alone   bool      // no other job has been at the server since it was sent
	worth   float64   // seconds that the prompt is thought to take, or 0 if that is not known
	worked  float64   // seconds that were spent on it
	period  *period   // in which its prompt is processed
	atFirst clock     // when the first token came
}

// newJob returns the job for a request to a server of so many slots; timed is true if somebody wants to know how long it
// will take. If the request wants more answers than there are slots, llama-server would refuse it.
func newJob(req *llmgateway.Request, slots int, timed bool) (*job, error) {
	j := &job{stream: req.Stream, width: 1, wish: -1, turn: make(chan struct{})}
	prompts := 1
	switch req.Operation {
	case llmgateway.Embeddings:
		j.embeds = true
		prompts = promptsIn(req, "input")
	case llmgateway.Completion:
		prompts = promptsIn(req, "prompt")
	case llmgateway.Chat, llmgateway.Messages, llmgateway.Responses:
	}
	if !j.embeds {
		// Of several names for one thing llama-server takes its own.
		j.width = max(1, number(req, "n_cmpl", number(req, "n", 1)))
		j.maxTokens = max(0, number(req, "n_predict", number(req, "max_completion_tokens", number(req, "max_tokens", 0))))
		j.wish = number(req, "id_slot", -1)
	}
	if j.width > slots {
		return nil, &llmgateway.Error{
			Kind:    llmgateway.Unsupported,
			Param:   "n",
			Message: fmt.Sprintf("the local model gives at most %d answers to a request: ask for a smaller n", slots),
		}
	}
	j.chat = prompts == 1 && !j.embeds
	// Prompts that find no slot wait in llama-server until the first are done.
	j.width = min(slots, j.width*prompts)
	if j.chat && (slots > 1 || timed) {
		j.prompt = newChain(req)
		j.size = j.prompt.size()
	}
	return j, nil
}

// number returns a member's number, or otherwise if there is none.
func number(req *llmgateway.Request, name string, otherwise int) int {
	m, ok := req.Lookup(name)
	if !ok {
		return otherwise
	}
	value := gjson.ParseBytes(req.Raw(m))
	if value.Type != gjson.Number {
		return otherwise
	}
	return int(max(-1, min(value.Num, 1<<30)))
}

// promptsIn returns how many prompts a member holds: a list is one for each element, unless they are tokens.
func promptsIn(req *llmgateway.Request, name string) int {
	m, ok := req.Lookup(name)
	if !ok || req.Raw(m)[0] != '[' {
		return 1
	}
	list := gjson.ParseBytes(req.Raw(m))
	if list.Get("0").Type == gjson.Number {
		return 1
	}
	return max(1, int(list.Get("#").Int()))
}

// extra returns what tells llama-server, of so many slots, which to use, or nothing if it makes no difference.
func (j *job) extra(slots int) []llmgateway.Edit {
	if slots == 1 || len(j.prompt.Links) == 0 {
		return nil
	}
	return []llmgateway.Edit{{Name: "id_slot", Value: strconv.Itoa(j.slots[0])}}
}
