package local

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// said is what a client gets to know of an answer.
type said struct {
	text, finish string
	usage        llmgateway.Usage
	choices      map[int64]bool
}

// hear runs a request to its end.
func hear(t *testing.T, p llmgateway.Provider, op llmgateway.Operation, body string) said {
	t.Helper()
	s := said{choices: map[int64]bool{}}
	for event, err := range p.Generate(t.Context(), ask(t, op, "%s", body)) {
		if err != nil {
			t.Fatalf("%.200s: %v", body, err)
		}
		for _, choice := range gjson.GetBytes(event.Data, "choices").Array() {
			s.choices[choice.Get("index").Int()] = true
			s.text += choice.Get("delta.content").String() + choice.Get("message.content").String() + choice.Get("text").String()
		}
		s.finish += event.FinishReason
		if event.Usage != nil {
			s.usage = *event.Usage
		}
	}
	return s
}

// dialogue is a chat that grows.
type dialogue struct {
	messages []map[string]string
	more     string // members of the request
}

func newDialogue(instructions, more string) *dialogue {
	return &dialogue{messages: []map[string]string{{"role": "system", "content": instructions}}, more: more}
}

// turn asks the next question.
func (c *dialogue) turn(t *testing.T, p llmgateway.Provider, question string) said {
	t.Helper()
	c.messages = append(c.messages, map[string]string{"role": "user", "content": question})
	messages, err := json.Marshal(c.messages)
	if err != nil {
		t.Fatal(err)
	}
	s := hear(t, p, llmgateway.Chat, fmt.Sprintf(
		`{"model":"m","stream":true,"stream_options":{"include_usage":true},"temperature":0,"max_tokens":12,"messages":%s%s}`, messages, c.more))
	c.messages = append(c.messages, map[string]string{"role": "assistant", "content": s.text})
	return s
}

// TestRealServerKeepsInterleavedConversationsCached lets four conversations that begin alike take turns.
func TestRealServerKeepsInterleavedConversationsCached(t *testing.T) {
	instructions := strings.Repeat("You are a careful agent and look before you click. ", 20)
	// uncached returns how many tokens of prompts were processed from the second turn on, and how many there were.
	uncached := func(more string) (tokens, all int) {
		p := &Provider{Engine: realEngine(t, nil, Config{NCtx: 4096, NParallel: 4})}
		dialogues := make([]*dialogue, 4)
		for i := range dialogues {
			dialogues[i] = newDialogue(instructions, more)
		}
		var before [4]llmgateway.Usage
		for turn := range 5 {
			for i, c := range dialogues {
				u := c.turn(t, p, fmt.Sprintf("This is number %d, question %d: %s", i, turn, strings.Repeat("what now? ", 10))).usage
				if turn > 0 {
					tokens += u.PromptTokens - u.CachedTokens
					all += u.PromptTokens
					// The chat template may write an answer otherwise than the model did.
					if more == "" && u.CachedTokens < before[i].PromptTokens-8 {
						t.Errorf("conversation %d, turn %d: %d tokens cached, the last prompt had %d", i, turn, u.CachedTokens, before[i].PromptTokens)
					}
				}
				before[i] = u
			}
		}
		return tokens, all
	}
	with, all := uncached("")
	without, _ := uncached(`,"id_slot":-1`) // llama-server chooses
	t.Logf("of %d tokens, %d were processed; when llama-server chooses the slots, %d", all, with, without)
	if 2*with > without {
		t.Errorf("processed %d tokens of prompts, want less than half of the %d when llama-server chooses", with, without)
	}
}

// TestRealServerTakesTheSlotOfEachKindOfRequest sends everything twice: the second time the prompt is cached.
func TestRealServerTakesTheSlotOfEachKindOfRequest(t *testing.T) {
	p := &Provider{Engine: realEngine(t, nil, Config{NCtx: 1024, NParallel: 4}), MaxQueue: 10}
	text := strings.Repeat("some words of a prompt ", 8)
	tests := []struct {
		name string
		op   llmgateway.Operation
		body string
		n    int
	}{
		{"chat", llmgateway.Chat, `"messages":[{"role":"user","content":"1 %s"}]`, 1},
		{"completion", llmgateway.Completion, `"prompt":"2 %s"`, 1},
		{"chat with answers", llmgateway.Chat, `"n":3,"messages":[{"role":"user","content":"3 %s"}]`, 3},
		{"completion with answers", llmgateway.Completion, `"n":2,"prompt":"4 %s"`, 2},
	}
	for _, test := range tests {
		for _, stream := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, stream %t", test.name, stream), func(t *testing.T) {
				body := fmt.Sprintf(`{"model":"m","max_tokens":4,"stream":%t,`, stream)
				if stream {
					body += `"stream_options":{"include_usage":true},`
				}
				body += fmt.Sprintf(test.body, fmt.Sprint(stream, text)) + "}"
				first := hear(t, p, test.op, body)
				if len(first.choices) != test.n {
					t.Errorf("got %d choices, want %d", len(first.choices), test.n)
				}
				again := hear(t, p, test.op, body)
				if u := again.usage; u.CachedTokens < u.PromptTokens-1 || u.PromptTokens < 20 {
					t.Errorf("the second time: %d of %d tokens were cached", u.CachedTokens, u.PromptTokens)
				}
			})
		}
	}
	t.Run("more answers than slots", func(t *testing.T) {
		_, err := generate(t.Context(), p, ask(t, llmgateway.Chat, `{"model":"m","n":5,"messages":[{"role":"user","content":"a"}]}`))
		if e := llmgateway.AsError(err); err == nil || e.Kind != llmgateway.Unsupported {
			t.Errorf("got %v, want that it is not supported", err)
		}
	})
	t.Run("several prompts", func(t *testing.T) {
		s := hear(t, p, llmgateway.Completion, `{"model":"m","max_tokens":4,"prompt":["a","b","c","d","e","f"]}`)
		if s.text == "" {
			t.Error("got no text")
		}
	})
	t.Run("mixed at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				hear(t, p, llmgateway.Chat, fmt.Sprintf(`{"model":"m","n":%d,"max_tokens":8,"stream":%t,"messages":[{"role":"user","content":"a"}]}`, 1+i%4, i < 4))
			})
		}
		wg.Wait()
		if free := p.Engine.Queue().Free; free != 4 {
			t.Errorf("in the end %d slots are free, want 4", free)
		}
	})
}

// TestRealServerKnowsItsConversationsAfterARestart restarts a server that saves its prompts.
func TestRealServerKnowsItsConversationsAfterARestart(t *testing.T) {
	config := Config{ModelPath: starterModel(t), NCtx: 2048, NParallel: 3, CacheDir: t.TempDir()}
	p := &Provider{Engine: realEngine(t, nil, config)}
	var dialogues [3]*dialogue
	for i := range dialogues {
		dialogues[i] = newDialogue(strings.Repeat("These are the same instructions for all. ", 10), "")
		dialogues[i].turn(t, p, fmt.Sprintf("%d %s", i, strings.Repeat("what now? ", 30)))
	}
	restart(t, p.Engine)
	p = &Provider{Engine: realEngine(t, nil, config)}
	for i := len(dialogues) - 1; i >= 0; i-- {
		if u := dialogues[i].turn(t, p, "and then?").usage; u.PromptTokens-u.CachedTokens > 40 {
			t.Errorf("conversation %d: only %d of %d tokens are cached", i, u.CachedTokens, u.PromptTokens)
		}
	}
}
