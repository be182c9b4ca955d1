package openai

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Merge turns a stream's chunks into one event with the whole answer, so that a stream can serve a client that did not
// ask for one. Nothing is yielded before the stream has ended well. A stream that carried nothing is an error. An error
// says what had been used until then.
func Merge(chunks iter.Seq2[llmgateway.Event, error]) iter.Seq2[llmgateway.Event, error] {
	return func(yield func(llmgateway.Event, error) bool) {
		m := newMerger()
		var meter Meter
		size := 0
		event := llmgateway.Event{Whole: true}
		for chunk, err := range chunks {
			if err == nil {
				meter.Observe(&chunk)
				err = m.add(chunk.Data)
			}
			if size += len(chunk.Data); err == nil && size > maxAnswer {
				err = &llmgateway.Error{Kind: llmgateway.Upstream, Message: "the provider's answer is too large"}
			}
			if err != nil {
				yield(llmgateway.Event{}, meter.failed(err))
				return
			}
			event.Carries = event.Carries || chunk.Carries
			if chunk.Usage != nil {
				event.Usage = chunk.Usage
			}
			if chunk.FinishReason != "" {
				event.FinishReason = chunk.FinishReason
			}
		}
		if !event.Carries {
			yield(llmgateway.Event{}, meter.failed(nothingInIt()))
			return
		}
		var err error
		event.Data, err = m.whole()
		yield(event, err)
	}
}

// merger puts chunks together without knowing what is in them.
//
// What is a choice's delta, text and logprobs comes in pieces: strings are concatenated, elements of lists that have an
// index are merged by it and others appended, objects are merged member by member. Of all else the last stays. Numbers
// keep their digits.
type merger struct {
	answer  map[string]any
	choices []map[string]any
	run     run
}

func newMerger() *merger {
	return &merger{answer: make(map[string]any), choices: []map[string]any{}}
}

func (m *merger) add(chunk []byte) error {
	if m.run.take(chunk) {
		return nil
	}
	if err := m.flush(); err != nil {
		return err
	}
	if err := m.merge(chunk); err != nil {
		return err
	}
	m.run.begin(chunk)
	return nil
}

// flush merges what is pending.
func (m *merger) flush() error {
	if chunk := m.run.end(); chunk != nil {
		return m.merge(chunk)
	}
	return nil
}

func (m *merger) merge(chunk []byte) error {
	next, err := decode(chunk)
	if err != nil {
		return fmt.Errorf("merging a stream: %w", err)
	}
	choices, _ := next["choices"].([]any)
	delete(next, "choices")
	update(m.answer, next)
	for _, choice := range choices {
		if choice, ok := choice.(map[string]any); ok {
			m.addChoice(choice)
		}
	}
	return nil
}

// update sets members; null sets nothing that was there.
func update(object, next map[string]any) {
	for name, value := range next {
		if value != nil || object[name] == nil {
			object[name] = value
		}
	}
}

// pieceMembers are a choice's members that come in pieces, with their names in a whole answer.
var pieceMembers = map[string]string{"delta": "message", "text": "text", "logprobs": "logprobs"}

func (m *merger) addChoice(next map[string]any) {
	if _, ok := next["index"].(json.Number); !ok {
		next["index"] = json.Number("0")
	}
	at := slices.IndexFunc(m.choices, func(c map[string]any) bool { return c["index"] == next["index"] })
	if at < 0 {
		at = len(m.choices)
		m.choices = append(m.choices, make(map[string]any))
	}
	choice := m.choices[at]
	for delta, whole := range pieceMembers {
		if piece, ok := next[delta]; ok {
			choice[whole] = merge(whole, choice[whole], piece)
			delete(next, delta)
			delete(next, whole)
		}
	}
	for name, value := range next {
		object, ok := choice[name].(map[string]any)
		if more, both := value.(map[string]any); ok && both {
			update(object, more)
			delete(next, name)
		}
	}
	update(choice, next)
}

// decode returns a JSON object with its numbers as they are written.
func decode(object []byte) (map[string]any, error) {
	if err := checkObject(object); err != nil {
		return nil, err
	}
	decoded, _ := value(gjson.ParseBytes(object)).(map[string]any)
	return decoded, nil
}

func value(r gjson.Result) any {
	switch {
	case r.IsObject():
		object := make(map[string]any)
		r.ForEach(func(name, member gjson.Result) bool {
			object[name.Str] = value(member)
			return true
		})
		return object
	case r.IsArray():
		list := []any{}
		r.ForEach(func(_, element gjson.Result) bool {
			list = append(list, value(element))
			return true
		})
		return list
	case r.Type == gjson.Number:
		return json.Number(r.Raw)
	default:
		return r.Value()
	}
}

// text collects the pieces of a string.
type text struct{ strings.Builder }

// MarshalJSON implements json.Marshaler.
func (t *text) MarshalJSON() ([]byte, error) { return marshal(t.String()) }

// merge returns old with the next piece added to it. name is the member they are the values of.
func merge(name string, old, next any) any {
	switch next := next.(type) {
	case nil:
		return old
	case string:
		return mergeString(name, old, next)
	case []any:
		return mergeList(name, old, next)
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
	case "role", "id", "type", "name", "format":
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

func mergeList(name string, old any, next []any) any {
	list, _ := old.([]any)
	if list == nil {
		list = []any{}
	}
	for _, element := range next {
		at := place(list, element)
		if name == "tool_calls" {
			at = placeCall(list, element)
		}
		if at < 0 {
			list = append(list, merge("", nil, element))
			continue
		}
		list[at] = merge("", list[at], element)
	}
	return list
}

// place returns which element of the list the next one belongs to, or -1 if it is a new one.
func place(list []any, next any) int {
	index, ok := indexOf(next)
	return slices.IndexFunc(list, func(e any) bool {
		i, has := indexOf(e)
		return ok && has && i == index
	})
}

// placeCall does the same for a tool call.
func placeCall(list []any, next any) int {
	calls := make([]CallRef, len(list))
	for i, old := range list {
		calls[i] = callRef(old)
	}
	return PlaceCall(calls, callRef(next))
}

// CallRef is what tells the pieces of one streamed tool call from those of another.
type CallRef struct {
	// Index is the number as it is written, or empty if there is none.
	Index string
	// ID and Name are empty if the piece does not say them.
	ID, Name string
}

// PlaceCall returns which call the next piece belongs to, or -1 if it begins another one. Some servers leave out the index or
// give the same one to all calls, and some make up a new id for every piece: a piece begins another call if it says so by
// its id and its name.
func PlaceCall(calls []CallRef, next CallRef) int {
	indexed := next.Index != ""
	for i, old := range slices.Backward(calls) {
		switch {
		case indexed && old.Index != next.Index:
		case next.ID != "" && old.ID == next.ID:
			return i
		case !indexed && next.ID != "":
		case next.Name != "" && (!indexed || next.ID != "" && old.ID != ""):
			return -1
		default:
			return i
		}
	}
	return -1
}

func callRef(element any) CallRef {
	index, _ := indexOf(element)
	id, name := call(element)
	return CallRef{Index: index.String(), ID: id, Name: name}
}

// call returns a tool call's id and what it calls.
func call(element any) (id, name string) {
	object, _ := element.(map[string]any)
	id, _ = object["id"].(string)
	for _, kind := range []string{"function", "custom"} {
		if called, ok := object[kind].(map[string]any); ok {
			name, _ = called["name"].(string)
		}
	}
	return id, name
}

func indexOf(element any) (index json.Number, ok bool) {
	object, _ := element.(map[string]any)
	index, ok = object["index"].(json.Number)
	return index, ok
}

func byIndex(a, b any) int {
	i, _ := indexOf(a)
	j, _ := indexOf(b)
	m, _ := i.Int64()
	n, _ := j.Int64()
	return cmp.Compare(m, n)
}

// whole returns the answer in the shape of one that was not streamed.
func (m *merger) whole() ([]byte, error) {
	if err := m.flush(); err != nil {
		return nil, err
	}
	if object, ok := m.answer["object"].(string); ok {
		m.answer["object"] = strings.TrimSuffix(object, ".chunk")
	}
	slices.SortStableFunc(m.choices, func(a, b map[string]any) int { return byIndex(a, b) })
	m.answer["choices"] = m.choices
	for _, choice := range m.choices {
		if _, ok := choice["text"]; ok {
			continue
		}
		message, ok := choice["message"].(map[string]any)
		if !ok {
			message = make(map[string]any)
			choice["message"] = message
		}
		if message["content"] == nil {
			message["content"] = noContent(message)
		}
		if _, ok := message["role"]; !ok {
			message["role"] = "assistant"
		}
		calls, _ := message["tool_calls"].([]any)
		slices.SortStableFunc(calls, byIndex)
		for _, call := range calls {
			if call, ok := call.(map[string]any); ok {
				delete(call, "index") // belongs to chunks only
			}
		}
	}
	return marshal(m.answer)
}

// noContent returns the content of a message that has none: null beside something else, as OpenAI has it, and otherwise the
// empty string, since clients take the answer's text for one.
func noContent(message map[string]any) any {
	for _, member := range []string{"tool_calls", "function_call", "refusal", "audio"} {
		if message[member] != nil {
			return nil
		}
	}
	return ""
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
