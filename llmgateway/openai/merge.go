package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Merge turns a stream's chunks into one event with the whole answer, so that a stream can serve a client that did not
// ask for one. Nothing is yielded before the stream has ended well.
func Merge(chunks iter.Seq2[llmgateway.Event, error]) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		var m merger
		event := llmgateway.Event{Carries: true, Whole: true}
		for chunk, err := range chunks {
			if err == nil {
				err = m.add(chunk.Data)
			}
			if err != nil {
				yield(llmgateway.Event{}, err)
				return
			}
			if chunk.Usage != nil {
				event.Usage = chunk.Usage
			}
			if chunk.FinishReason != "" {
				event.FinishReason = chunk.FinishReason
			}
		}
		var err error
		event.Data, err = m.whole()
		yield(event, err)
	}
}

// merger puts chunks together without knowing what is in them: strings are concatenated, elements of lists that have an
// index are merged by it and others appended, objects are merged member by member, and of all else the last stays.
// Numbers keep their digits.
type merger struct {
	answer map[string]any
}

func (m *merger) add(chunk []byte) error {
	d := json.NewDecoder(bytes.NewReader(chunk))
	d.UseNumber()
	var next map[string]any
	if err := d.Decode(&next); err != nil {
		return fmt.Errorf("merging a stream: %w", err)
	}
	if m.answer == nil {
		m.answer = map[string]any{}
	}
	choices, _ := next["choices"].([]any)
	delete(next, "choices")
	for name, value := range next {
		if value != nil || m.answer[name] == nil {
			m.answer[name] = value
		}
	}
	for _, choice := range choices {
		c, ok := choice.(map[string]any)
		if !ok {
			continue
		}
		if delta, ok := c["delta"]; ok {
			delete(c, "delta")
			c["message"] = delta
		}
	}
	if choices != nil {
		m.answer["choices"] = merge("choices", m.answer["choices"], choices)
	}
	return nil
}

// text collects the pieces of a string.
type text struct{ strings.Builder }

// MarshalJSON implements json.Marshaler.
func (t *text) MarshalJSON() ([]byte, error) { return marshal(t.String()) }

// merge returns old with next added to it. name is the member they are the values of.
func merge(name string, old, next any) any {
	switch next := next.(type) {
	case nil:
		return old
	case string:
		return mergeString(name, old, next)
	case []any:
		return mergeList(old, next)
	case map[string]any:
		object, ok := old.(map[string]any)
		if !ok {
			object = map[string]any{}
		}
		for member, value := range next {
			if merged := merge(member, object[member], value); merged != nil || object[member] == nil {
				object[member] = merged
			}
		}
		return object
	default:
		return next
	}
}

func mergeString(name string, old any, next string) any {
	switch name {
	case "role", "id", "type", "name", "finish_reason", "format":
		// These come whole. Some servers repeat them in every chunk.
		if s, ok := old.(string); ok && (s != "" || next == "") {
			return old
		}
		return next
	}
	t, ok := old.(*text)
	if !ok {
		t = &text{}
	}
	t.WriteString(next)
	return t
}

func mergeList(old any, next []any) any {
	list, _ := old.([]any)
	if list == nil {
		list = []any{}
	}
	for _, element := range next {
		index, ok := indexOf(element)
		at := slices.IndexFunc(list, func(e any) bool {
			i, has := indexOf(e)
			return ok && has && i == index
		})
		if at < 0 {
			list = append(list, merge("", nil, element))
			continue
		}
		list[at] = merge("", list[at], element)
	}
	return list
}

func indexOf(element any) (index json.Number, ok bool) {
	object, _ := element.(map[string]any)
	index, ok = object["index"].(json.Number)
	return index, ok
}

// whole returns the answer in the shape of one that was not streamed.
func (m *merger) whole() ([]byte, error) {
	if object, ok := m.answer["object"].(string); ok {
		m.answer["object"] = strings.TrimSuffix(object, ".chunk")
	}
	choices, _ := m.answer["choices"].([]any)
	slices.SortStableFunc(choices, func(a, b any) int {
		i, _ := indexOf(a)
		j, _ := indexOf(b)
		return strings.Compare(fmt.Sprintf("%9s", i), fmt.Sprintf("%9s", j))
	})
	for _, choice := range choices {
		message, _ := choice.(map[string]any)["message"].(map[string]any)
		if message == nil {
			continue
		}
		if _, ok := message["content"]; !ok {
			message["content"] = nil
		}
		if _, ok := message["role"]; !ok {
			message["role"] = "assistant"
		}
		calls, _ := message["tool_calls"].([]any)
		for _, call := range calls {
			if call, ok := call.(map[string]any); ok {
				delete(call, "index") // belongs to chunks only
			}
		}
	}
	return marshal(m.answer)
}

// marshal is json.Marshal without the escapes for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("merging a stream: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
