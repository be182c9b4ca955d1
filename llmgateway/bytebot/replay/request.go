package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// chat is one message in OpenAI's shape. The agent leaves out what a message does not have.
type chat struct {
	Role       string          `json:"role"`
	Content    json.RawMessage `json:"content,omitempty"`
	Reasoning  string          `json:"reasoning_content,omitempty"`
	ToolCalls  []chatCall      `json:"tool_calls,omitempty"`
	ToolCallID string          `json:"tool_call_id,omitempty"`
}

type chatCall struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

// chats returns the conversation as the agent sends it: one message for each block.
func (t *Task) chats(system string, messages []message) []chat {
	chats := []chat{{Role: "system", Content: quoted(system)}}
	if t.summary != "" {
		chats = append(chats, chat{Role: "user", Content: quoted(t.summary)})
	}
	for _, m := range messages {
		for _, b := range m.blocks {
			chats = append(chats, b.chats(m.role)...)
		}
	}
	return chats
}

// chats returns what the agent makes of one block. A document becomes nothing.
func (b block) chats(role string) (chats []chat) {
	switch b.kind {
	case "text":
		return []chat{{Role: role, Content: quoted(b.text)}}
	case "thinking":
		return []chat{{Role: role, Content: json.RawMessage("null"), Reasoning: b.text}}
	case "call":
		c := chatCall{ID: b.id, Type: "function"}
		c.Function.Name, c.Function.Arguments = b.name, reordered(b.arguments)
		return []chat{{Role: role, ToolCalls: []chatCall{c}}}
	case "result":
		for _, r := range b.result {
			switch r.kind {
			case "text":
				chats = append(chats, chat{Role: "tool", ToolCallID: b.id, Content: quoted(r.text)})
			case "image":
				if len(b.result) == 1 {
					chats = append(chats, chat{Role: "tool", ToolCallID: b.id, Content: quoted("screenshot")})
				}
				chats = append(chats, chat{Role: "user", Content: json.RawMessage(
					`[{"type":"text","text":"Screenshot"},{"type":"image_url","image_url":{"url":"data:image/png;base64,` + r.text + `","detail":"high"}}]`,
				)})
			}
		}
	}
	return chats
}

// reordered writes arguments with their members in the order in which the agent's database keeps them: short names first.
func reordered(v any) string {
	switch v := v.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.SortFunc(names, func(a, b string) int {
			if len(a) != len(b) {
				return len(a) - len(b)
			}
			return strings.Compare(a, b)
		})
		parts := make([]string, len(names))
		for i, name := range names {
			parts[i] = string(quoted(name)) + ":" + reordered(v[name])
		}
		return "{" + strings.Join(parts, ",") + "}"
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = reordered(e)
		}
		return "[" + strings.Join(parts, ",") + "]"
	default:
		return string(quoted(v))
	}
}

func quoted(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil { // what came from JSON goes back to it
		panic(err)
	}
	return text
}

// maxRetries is how often the agent's SDK repeats a request.
const maxRetries = 2

// ask sends a request, and again as often as the agent's SDK does.
func (t *Task) ask(ctx context.Context, system string, messages []message, tools bool) (*answer, error) {
	body := struct {
		Model     string          `json:"model"`
		Messages  []chat          `json:"messages"`
		MaxTokens int             `json:"max_tokens"`
		Tools     json.RawMessage `json:"tools,omitempty"`
		Effort    string          `json:"reasoning_effort"`
	}{Model: t.agent.Model, Messages: t.chats(system, messages), MaxTokens: maxTokens, Effort: "high"}
	if tools {
		body.Tools = json.RawMessage(Tools)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	for retry := 0; ; retry++ {
		t.outcome.Requests++
		answer, wait, err := t.agent.send(ctx, text, retry)
		if err == nil {
			return answer, nil
		}
		if wait < 0 || retry == maxRetries || ctx.Err() != nil {
			return nil, err
		}
		if wait == 0 {
			wait = time.Second << retry
		}
		if t.agent.Wait != nil {
			t.agent.Wait(ctx, wait)
			continue
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// send sends a request once. wait is below 0 if there is no use in a retry, and 0 if nobody said how long to wait for it.
func (a *Agent) send(ctx context.Context, body []byte, retry int) (got *answer, wait time.Duration, err error) {
	patience := a.Patience
	if patience == 0 {
		patience = defaultPatience
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(patience, func() { cancel(errors.New("the request timed out")) })
	defer timer.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(a.URL, "/")+"/chat/completions", bytes.NewReader(body))
	if err != nil {
		return nil, -1, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer dummy-key-for-proxy")
	req.Header.Set("User-Agent", "OpenAI/JS 5.8.2")
	req.Header.Set("X-Stainless-Retry-Count", strconv.Itoa(retry))
	resp, err := a.Client.Do(req)
	if err != nil {
		return nil, 0, errors.Join(err, context.Cause(ctx))
	}
	defer resp.Body.Close()
	timer.Reset(patience)
	text, err := io.ReadAll(&alive{resp.Body, timer, patience})
	if err != nil {
		return nil, 0, errors.Join(err, context.Cause(ctx))
	}
	if resp.StatusCode != http.StatusOK {
		err := fmt.Errorf("status %d: %.500s", resp.StatusCode, text)
		switch s := resp.StatusCode; {
		case s == http.StatusRequestTimeout, s == http.StatusConflict, s == http.StatusTooManyRequests, s >= 500:
			seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
			if seconds >= 60 {
				seconds = 0
			}
			return nil, time.Duration(seconds) * time.Second, err
		}
		return nil, -1, err
	}
	got = new(answer)
	if err := json.Unmarshal(text, got); err != nil {
		return nil, -1, fmt.Errorf("%w in %.500s", err, text)
	}
	return got, 0, nil
}

// alive sets a timer back whenever something comes.
type alive struct {
	io.Reader
	timer    *time.Timer
	patience time.Duration
}

// Read implements io.Reader.
func (a *alive) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	a.timer.Reset(a.patience)
	return n, err
}
