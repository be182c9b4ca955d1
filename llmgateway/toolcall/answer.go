package toolcall

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// Answer is a whole answer with its calls mended.
type Answer struct {
	// Data is the answer: the bytes that were given, if they were right.
	Data []byte
	// FinishReason is the first choice's.
	FinishReason string
	// Problems are those of calls that could not be mended. Such a call is in Data as the model made it.
	Problems []Problem
}

// Answer mends the calls in a whole answer, which must be valid JSON. It changes what is wrong and copies the rest.
func (r *Repairer) Answer(data []byte) Answer {
	answer := Answer{Data: data}
	root := gjson.ParseBytes(data)
	answer.FinishReason = root.Get("choices.0.finish_reason").String()
	if r.Tools.Empty() {
		return answer
	}
	e := editor{data: data}
	for i, choice := range root.Get("choices").Array() {
		reason, problems := r.choice(&e, choice)
		answer.Problems = append(answer.Problems, problems...)
		if i == 0 {
			answer.FinishReason = reason
		}
	}
	answer.Data = e.finish()
	return answer
}

// choice mends one choice and returns its finish reason.
func (r *Repairer) choice(e *editor, choice gjson.Result) (reason string, problems []Problem) {
	reason = choice.Get("finish_reason").String()
	message := choice.Get("message")
	if !message.IsObject() {
		return reason, nil
	}
	calls, right := readToolCalls(message)
	content := message.Get("content")
	text, changedText := "", false
	if len(calls) == 0 && content.Type == gjson.String {
		found := r.Tools.find(content.Str)
		problems = found.Problems
		if calls = found.Calls; len(calls) > 0 {
			text, changedText, right = found.Text, true, false
		}
	}
	if len(calls) == 0 {
		return reason, problems
	}
	all := r.repair(calls)
	problems = append(problems, all.problems...)
	if rest, said := r.quoted(all.calls); said != "" {
		if !changedText {
			text = content.String()
		}
		text, changedText = strings.TrimSpace(text+said), true
		all.calls, right = rest, false
		if len(rest) == 0 {
			e.set(message, "tool_calls", "[]")
			e.set(message, "content", quote(text))
			e.set(choice, "finish_reason", `"stop"`)
			return "stop", problems
		}
	}
	if !right || all.changed {
		e.set(message, "tool_calls", writeToolCalls(all.calls, false))
	}
	if changedText && text == "" {
		e.set(message, "content", "null")
	} else if changedText {
		e.set(message, "content", quote(text))
	}
	if reason != "tool_calls" && reason != "length" && reason != "content_filter" {
		e.set(choice, "finish_reason", `"tool_calls"`)
		reason = "tool_calls"
	}
	return reason, problems
}

// readToolCalls reads a message's calls, and reports whether they have the right shape. OpenAI's older function_call counts
// as one.
func readToolCalls(message gjson.Result) (calls []Call, right bool) {
	right = true
	var elements []gjson.Result
	if list := message.Get("tool_calls"); list.IsArray() {
		elements = list.Array()
	}
	if old := message.Get("function_call"); len(elements) == 0 && old.IsObject() {
		return []Call{{Name: old.Get("name").String(), Arguments: argumentText(old.Get("arguments"))}}, false
	}
	for _, element := range elements {
		if !element.IsObject() {
			right = false
			continue
		}
		if element.Get("type").String() == "custom" {
			return nil, true // a kind of its own, without a schema
		}
		function := element.Get("function")
		if !function.IsObject() {
			function, right = element, false
		}
		arguments := function.Get("arguments")
		right = right && arguments.Type == gjson.String && element.Get("type").String() == "function"
		calls = append(calls, Call{element.Get("id").String(), function.Get("name").String(), argumentText(arguments)})
	}
	return calls, right
}

func argumentText(arguments gjson.Result) string {
	if arguments.Type == gjson.String {
		return arguments.Str
	}
	return arguments.Raw
}

// writeToolCalls returns calls as the value of tool_calls. In a stream's delta they have an index.
func writeToolCalls(calls []Call, indexed bool) string {
	var b strings.Builder
	for i, c := range calls {
		b.WriteByte("[,"[min(i, 1)])
		b.WriteByte('{')
		if indexed {
			b.WriteString(`"index":` + strconv.Itoa(i) + ",")
		}
		b.WriteString(`"id":` + quote(c.ID) + `,"type":"function","function":{"name":` + quote(c.Name) + `,"arguments":` + quote(cmp.Or(c.Arguments, "{}")) + "}}")
	}
	b.WriteByte(']')
	return b.String()
}

// editor changes members of objects in JSON and copies the rest.
type editor struct {
	data  []byte
	edits []edit
}

type edit struct {
	start, end int
	text       string
}

// set gives a member of an object in data another value, or adds it.
func (e *editor) set(object gjson.Result, name, json string) {
	if old := object.Get(gjson.Escape(name)); old.Exists() {
		e.edits = append(e.edits, edit{old.Index, old.Index + len(old.Raw), json})
		return
	}
	end := object.Index + len(object.Raw) - 1
	comma := ","
	added := slices.ContainsFunc(e.edits, func(other edit) bool { return other.start == end && other.end == end })
	if !added && strings.TrimSpace(object.Raw[1:len(object.Raw)-1]) == "" {
		comma = ""
	}
	e.edits = append(e.edits, edit{end, end, comma + quote(name) + ":" + json})
}

// finish returns the data with all edits made: the same bytes if there are none.
func (e *editor) finish() []byte {
	if len(e.edits) == 0 {
		return e.data
	}
	slices.SortStableFunc(e.edits, func(a, b edit) int { return cmp.Compare(a.start, b.start) })
	out := make([]byte, 0, len(e.data)+256)
	at := 0
	for _, ed := range e.edits {
		out = append(append(out, e.data[at:ed.start]...), ed.text...)
		at = ed.end
	}
	return append(out, e.data[at:]...)
}
