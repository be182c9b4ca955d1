package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// kind is what a request keeps the model busy with.
type kind string

const (
	prompts kind = "prompt"
	answers kind = "generation"
)

// load sends as many requests at once and returns how many tokens of the kind were processed.
func load(ctx context.Context, c *client, kind kind, atOnce, tokens, round int) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var done atomic.Int64
	var workers sync.WaitGroup
	for i := range atOnce {
		workers.Go(func() {
			body := request("go", tokens)
			if kind == prompts {
				// The same for both sides, and for no other request.
				random := rand.New(rand.NewPCG(uint64(round), uint64(atOnce*100+i)))
				words := make([]string, tokens)
				for k := range words {
					words[k] = string(rune('a' + random.IntN(26)))
				}
				body = request(strings.Join(words, " "), 1)
			}
			u, err := c.ask(ctx, body)
			if err != nil {
				cancel(err)
				return
			}
			if kind == prompts {
				done.Add(u.PromptTokens)
			} else {
				done.Add(u.CompletionTokens)
			}
		})
	}
	workers.Wait()
	return done.Load(), context.Cause(ctx)
}

// request makes a streamed completion of exactly so many tokens, without help from the prompt cache.
func request(prompt string, tokens int) []byte {
	body, err := json.Marshal(map[string]any{
		"model": "m", "prompt": prompt, "max_tokens": tokens, "stream": true, "stream_options": map[string]any{"include_usage": true},
		"temperature": 0, "ignore_eos": true, "cache_prompt": false,
	})
	if err != nil {
		panic(err) // no value here makes it fail
	}
	return body
}

type usage struct {
	PromptTokens     int64 `json:"prompt_tokens"`
	CompletionTokens int64 `json:"completion_tokens"`
}

// ask sends a request and returns the usage at the end of the stream.
func (c *client) ask(ctx context.Context, body []byte) (usage, error) {
	var last struct{ Usage *usage }
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/completions", bytes.NewReader(body))
	if err != nil {
		return usage{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return usage{}, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return usage{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return usage{}, fmt.Errorf("%s: %.300s", resp.Status, answer)
	}
	rest, ended := strings.CutSuffix(strings.TrimSpace(string(answer)), "data: [DONE]")
	events := strings.Split(strings.TrimSpace(rest), "data: ")
	if err := json.Unmarshal([]byte(events[len(events)-1]), &last); err != nil || last.Usage == nil || !ended {
		return usage{}, fmt.Errorf("the stream ends with %.300q", answer[max(0, len(answer)-300):])
	}
	return *last.Usage, nil
}
