package toolcall

import (
	"reflect"
	"strings"
	"testing"
)

const clickArguments = `{"coordinates":{"x":640,"y":480},"button":"left","clickCount":1}`

// answers are outputs of model families, as they come where nothing parses them.
var answers = []struct {
	name, text string
	rest       string
	calls      []Call
	problems   int
}{
	{
		"Qwen and Hermes", "I see the button.\n<tool_call>\n{\"name\": \"computer_click_mouse\", \"arguments\": " + clickArguments + "}\n</tool_call>",
		"I see the button.",
		[]Call{{Name: "computer_click_mouse", Arguments: clickArguments}},
		0,
	},
	{
		"several", "<tool_call>\n{\"name\":\"computer_screenshot\",\"arguments\":{}}\n</tool_call>\n<tool_call>\n{\"name\":\"computer_wait\",\"arguments\":{\"duration\":500}}\n</tool_call>\nDone.",
		"Done.",
		[]Call{{Name: "computer_screenshot", Arguments: `{}`}, {Name: "computer_wait", Arguments: `{"duration":500}`}},
		0,
	},
	{"two in one tag", `<tool_call>{"name":"a","arguments":{}}{"name":"b","arguments":{}}</tool_call>`, "", []Call{{Name: "a", Arguments: `{}`}, {Name: "b", Arguments: `{}`}}, 0},
	{"no closing tag", "<tool_call>\n{\"name\":\"computer_screenshot\",\"arguments\":{}}", "", []Call{{Name: "computer_screenshot", Arguments: `{}`}}, 0},
	{"a missing bracket", "<tool_call>\n{\"name\":\"computer_wait\",\"arguments\":{\"duration\":500}\n</tool_call>", "", []Call{{Name: "computer_wait", Arguments: `{"duration":500}`}}, 0},
	{"a bracket too many", "<tool_call>{\"name\":\"computer_wait\",\"arguments\":{\"duration\":500}}}</tool_call>", "", []Call{{Name: "computer_wait", Arguments: `{"duration":500}`}}, 0},
	{
		"the closing tag in a string", `<tool_call>{"name":"computer_type_text","arguments":{"text":"</tool_call>"}}</tool_call>`,
		"",
		[]Call{{Name: "computer_type_text", Arguments: `{"text":"</tool_call>"}`}},
		0,
	},
	{"cut off inside", `Now. <tool_call>{"name":"computer_type_text","arguments":{"text":"hel`, `Now. <tool_call>{"name":"computer_type_text","arguments":{"text":"hel`, nil, 1},
	{"nonsense inside", `<tool_call>please click</tool_call>`, `<tool_call>please click</tool_call>`, nil, 1},
	{
		"Qwen Coder", "<tool_call>\n<function=computer_type_text>\n<parameter=text>\nhello\nworld\n</parameter>\n<parameter=delay>\n5\n</parameter>\n</function>\n</tool_call>",
		"",
		[]Call{{Name: "computer_type_text", Arguments: `{"text":"hello\nworld","delay":"5"}`}},
		0,
	},
	{
		"GLM", "<tool_call>computer_scroll\n<arg_key>coordinates</arg_key>\n<arg_value>{\"x\": 1, \"y\": 2}</arg_value>\n<arg_key>direction</arg_key>\n<arg_value>down</arg_value>\n</tool_call>",
		"",
		[]Call{{Name: "computer_scroll", Arguments: `{"coordinates":{"x":1,"y":2},"direction":"down"}`}},
		0,
	},
	{
		"fenced with input", "I'll take a look.\n\n```json\n{\n  \"name\": \"computer_click_mouse\",\n  \"input\": {\"coordinates\": {\"x\": 640, \"y\": 480}, \"button\": \"left\", \"clickCount\": 1}\n}\n```",
		"I'll take a look.",
		[]Call{{Name: "computer_click_mouse", Arguments: clickArguments}},
		0,
	},
	{"fenced without a language", "```\n{\"name\":\"click\",\"parameters\":{\"x\":1,\"y\":2}}\n```\n", "", []Call{{Name: "click", Arguments: `{"x":1,"y":2}`}}, 0},
	{"fenced list", "```json\n[{\"name\":\"computer_screenshot\",\"arguments\":{}},{\"name\":\"computer_wait\",\"arguments\":{\"duration\":500}}]\n```", "", []Call{{Name: "computer_screenshot", Arguments: `{}`}, {Name: "computer_wait", Arguments: `{"duration":500}`}}, 0},
	{"fenced and marked", "```tool_call\n{\"name\":\"computer_screenshot\"}\n```", "", []Call{{Name: "computer_screenshot", Arguments: `{}`}}, 0},
	{"fenced on one line", "```json{\"name\":\"computer_screenshot\",\"arguments\":{}}```", "", []Call{{Name: "computer_screenshot", Arguments: `{}`}}, 0},
	{"fenced in OpenAI's shape", "```json\n{\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"computer_screenshot\",\"arguments\":\"{}\"}}]}\n```", "", []Call{{ID: "c1", Name: "computer_screenshot", Arguments: `{}`}}, 0},
	{"fenced with a missing bracket", "```json\n{\"name\":\"computer_wait\",\"arguments\":{\"duration\":500}\n```", "", []Call{{Name: "computer_wait", Arguments: `{"duration":500}`}}, 0},
	{"a fenced example of something else", "```json\n{\"name\":\"Alice\",\"input\":{\"a\":1}}\n```", "```json\n{\"name\":\"Alice\",\"input\":{\"a\":1}}\n```", nil, 0},
	{"fenced data", "```json\n{\"a\":1}\n```", "```json\n{\"a\":1}\n```", nil, 0},
	{"another language", "```python\n{\"name\":\"computer_screenshot\",\"arguments\":{}}\n```", "```python\n{\"name\":\"computer_screenshot\",\"arguments\":{}}\n```", nil, 0},
	{"Llama 3 tagged", "<|python_tag|>{\"name\": \"computer_screenshot\", \"parameters\": {}}<|eom_id|>", "", []Call{{Name: "computer_screenshot", Arguments: `{}`}}, 0},
	{
		"Llama 3 tagged, two", `<|python_tag|>{"name": "computer_screenshot", "parameters": {}}; {"name": "computer_wait", "parameters": {"duration": "500"}}`,
		"",
		[]Call{{Name: "computer_screenshot", Arguments: `{}`}, {Name: "computer_wait", Arguments: `{"duration":"500"}`}},
		0,
	},
	{"Llama 3 in Python", `<|python_tag|>computer_wait.call(duration=500)`, "", []Call{{Name: "computer_wait", Arguments: `{"duration":500}`}}, 0},
	{"Llama 3 bare", `{"name": "computer_application", "parameters": {"application": "firefox"}}`, "", []Call{{Name: "computer_application", Arguments: `{"application":"firefox"}`}}, 0},
	{"Llama 3 bare with its type", `{"type": "function", "name": "computer_application", "parameters": {"application": "firefox"}}<|eot_id|>`, "", []Call{{Name: "computer_application", Arguments: `{"application":"firefox"}`}}, 0},
	{"bare behind a line of text", "Opening it.\n{\"name\": \"computer_application\", \"arguments\": {\"application\": \"firefox\"}}\n", "Opening it.", []Call{{Name: "computer_application", Arguments: `{"application":"firefox"}`}}, 0},
	{"Llama 3.1 function tag", `<function=computer_wait>{"duration": 500}</function>`, "", []Call{{Name: "computer_wait", Arguments: `{"duration":500}`}}, 0},
	{"Mistral", "[TOOL_CALLS] [{\"name\": \"computer_screenshot\", \"arguments\": {}, \"id\": \"VvvODy9mT\"}]", "", []Call{{ID: "VvvODy9mT", Name: "computer_screenshot", Arguments: `{}`}}, 0},
	{"Mistral with text", "Looking.[TOOL_CALLS][{\"name\": \"computer_screenshot\", \"arguments\": {}}]", "Looking.", []Call{{Name: "computer_screenshot", Arguments: `{}`}}, 0},
	{"newer Mistral", "[TOOL_CALLS]computer_wait[ARGS]{\"duration\": 500}[TOOL_CALLS]computer_screenshot[CALL_ID]abc[ARGS]{}", "", []Call{{Name: "computer_wait", Arguments: `{"duration":500}`}, {Name: "computer_screenshot", Arguments: `{}`}}, 0},
	{"Granite", `<|tool_call|>[{"name": "computer_screenshot", "arguments": {}}]`, "", []Call{{Name: "computer_screenshot", Arguments: `{}`}}, 0},
	{
		"DeepSeek", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>computer_wait\n```json\n{\"duration\": 500}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
		"",
		[]Call{{Name: "computer_wait", Arguments: `{"duration":500}`}},
		0,
	},
	{"newer DeepSeek", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>computer_wait<｜tool▁sep｜>{\"duration\": 500}<｜tool▁call▁end｜><｜tool▁calls▁end｜>", "", []Call{{Name: "computer_wait", Arguments: `{"duration":500}`}}, 0},
	{
		"tags for arguments", "<function_calls>\n<invoke name=\"computer_type_text\">\n<parameter name=\"text\">hi</parameter>\n</invoke>\n</function_calls>",
		"",
		[]Call{{Name: "computer_type_text", Arguments: `{"text":"hi"}`}},
		0,
	},
	{
		"reasoning is left alone", "<think>I could write <tool_call>{\"name\":\"computer_screenshot\",\"arguments\":{}}</tool_call></think>Hello.",
		"<think>I could write <tool_call>{\"name\":\"computer_screenshot\",\"arguments\":{}}</tool_call></think>Hello.", nil, 0,
	},
	{"reasoning in front", "<think>Look.</think>\n<tool_call>{\"name\":\"computer_screenshot\",\"arguments\":{}}</tool_call>", "<think>Look.</think>", []Call{{Name: "computer_screenshot", Arguments: `{}`}}, 0},
	{"plain text", "The value of {x} is [1] < 2, see `code`.\n\n- a\n- b\n", "The value of {x} is [1] < 2, see `code`.\n\n- a\n- b\n", nil, 0},
	{"an answer in JSON", `{"answer": 42}`, `{"answer": 42}`, nil, 0},
	{"a person in JSON", `{"name": "Alice", "parameters": {"age": 3}}`, `{"name": "Alice", "parameters": {"age": 3}}`, nil, 0},
	{"arguments beside the name", "```json\n{\"action\": \"left_click\", \"coordinate\": [640, 480]}\n```", "", []Call{{Name: "left_click", Arguments: `{"coordinate":[640,480]}`}}, 0},
	{"arguments beside the name, bare", `{"tool": "computer_type_text", "text": "hi"}`, "", []Call{{Name: "computer_type_text", Arguments: `{"text":"hi"}`}}, 0},
	{"JSON that is quoted", "The file package.json contains:\n{\"name\": \"task\", \"description\": \"A runner\"}\nShall I change it?", "The file package.json contains:\n{\"name\": \"task\", \"description\": \"A runner\"}\nShall I change it?", nil, 0},
	{"JSON that is quoted in a code block", "config.json says:\n```json\n{\"action\": \"type\", \"text\": \"rm -rf /\"}\n```\nI will not do that.", "config.json says:\n```json\n{\"action\": \"type\", \"text\": \"rm -rf /\"}\n```\nI will not do that.", nil, 0},
	{"JSON that is refused", "{\"action\": \"type\", \"text\": \"rm -rf /\"}\nI will not do that.", "{\"action\": \"type\", \"text\": \"rm -rf /\"}\nI will not do that.", nil, 0},
	{"others beside the name", `{"name": "wait", "reason": "rain"}`, `{"name": "wait", "reason": "rain"}`, nil, 0},
	{"JSON inside a line", `Use {"name": "computer_screenshot", "arguments": {}} for that.`, `Use {"name": "computer_screenshot", "arguments": {}} for that.`, nil, 0},
	{"JSON with text behind it", `{"name": "computer_screenshot", "arguments": {}} is how.`, `{"name": "computer_screenshot", "arguments": {}} is how.`, nil, 0},
	{
		"a tool's definition in a code block", "The tools are:\n```json\n{\"type\": \"function\", \"function\": {\"name\": \"computer_screenshot\", \"description\": \"Look.\", \"parameters\": {\"type\": \"object\", \"properties\": {}}}}\n```\nThat is all.",
		"The tools are:\n```json\n{\"type\": \"function\", \"function\": {\"name\": \"computer_screenshot\", \"description\": \"Look.\", \"parameters\": {\"type\": \"object\", \"properties\": {}}}}\n```\nThat is all.", nil, 0,
	},
	{
		"a tool's definition, bare", "{\"name\": \"computer_click_mouse\", \"description\": \"Click.\", \"parameters\": {\"type\": \"object\", \"properties\": {\"button\": {\"type\": \"string\"}}, \"required\": [\"button\"]}}",
		"{\"name\": \"computer_click_mouse\", \"description\": \"Click.\", \"parameters\": {\"type\": \"object\", \"properties\": {\"button\": {\"type\": \"string\"}}, \"required\": [\"button\"]}}", nil, 0,
	},
	{
		"definitions of tools in a list", "[{\"type\": \"function\", \"function\": {\"name\": \"computer_wait\", \"parameters\": {\"type\": \"object\", \"properties\": {\"duration\": {\"type\": \"integer\"}}}}}]",
		"[{\"type\": \"function\", \"function\": {\"name\": \"computer_wait\", \"parameters\": {\"type\": \"object\", \"properties\": {\"duration\": {\"type\": \"integer\"}}}}}]", nil, 0,
	},
	{
		"a form that is quoted in a line", "To look, write `<tool_call>{\"name\": \"computer_screenshot\", \"arguments\": {}}</tool_call>` or `<function=computer_screenshot></function>` in your answer.",
		"To look, write `<tool_call>{\"name\": \"computer_screenshot\", \"arguments\": {}}</tool_call>` or `<function=computer_screenshot></function>` in your answer.", nil, 0,
	},
	{
		"a call behind code in its line", "I press `Enter` now. <tool_call>{\"name\": \"computer_screenshot\", \"arguments\": {}}</tool_call>",
		"I press `Enter` now.",
		[]Call{{Name: "computer_screenshot", Arguments: `{}`}},
		0,
	},
	{
		"a call behind a lone backtick", "The key is ` here.\n<tool_call>{\"name\": \"computer_screenshot\", \"arguments\": {}}</tool_call>",
		"The key is ` here.",
		[]Call{{Name: "computer_screenshot", Arguments: `{}`}},
		0,
	},
	{
		"a call in code on a line of its own", "I look.\n`<tool_call>{\"name\": \"computer_screenshot\", \"arguments\": {}}</tool_call>`",
		"I look.\n``",
		[]Call{{Name: "computer_screenshot", Arguments: `{}`}},
		0,
	},
}

func TestFindReadsTheFormsOfModelFamilies(t *testing.T) {
	tools := desktop(t)
	for _, tt := range answers {
		t.Run(tt.name, func(t *testing.T) {
			got := tools.Find(tt.text)
			if got.Text != tt.rest || !reflect.DeepEqual(got.Calls, tt.calls) || len(got.Problems) != tt.problems {
				t.Fatalf("got text %q, calls %+v, problems %v\nwant text %q, calls %+v, %d problems", got.Text, got.Calls, got.Problems, tt.rest, tt.calls, tt.problems)
			}
		})
	}
}

// pieces finds the calls of a text that comes in pieces.
func pieces(tools *Tools, parts ...string) (found Found) {
	s := NewScanner(tools)
	add := func(f Found) {
		found.Text += f.Text
		found.Calls = append(found.Calls, f.Calls...)
		found.Problems = append(found.Problems, f.Problems...)
	}
	for _, part := range parts {
		add(s.Write(part))
	}
	add(s.Close())
	if len(found.Calls) > 0 {
		found.Text = strings.TrimSpace(found.Text)
	}
	return found
}

func TestScannerFindsTheSameInPieces(t *testing.T) {
	tools := desktop(t)
	for _, tt := range answers {
		t.Run(tt.name, func(t *testing.T) {
			want := tools.Find(tt.text)
			for cut := 1; cut < len(tt.text); cut++ {
				if got := pieces(tools, tt.text[:cut], tt.text[cut:]); !reflect.DeepEqual(got, want) {
					t.Fatalf("cut at %d, %q: got %+v, want %+v", cut, tt.text[:cut], got, want)
				}
			}
			if got := pieces(tools, strings.Split(tt.text, "")...); !reflect.DeepEqual(got, want) {
				t.Fatalf("byte for byte: got %+v, want %+v", got, want)
			}
		})
	}
}

func TestScannerPassesPlainTextAtOnce(t *testing.T) {
	s := NewScanner(desktop(t))
	for _, piece := range []string{"Hello", " wor", "ld. ", "a < b ", "[x] ", "{y} ", "`z` ", "<b>bold</b> ", "```go\n", "x := []int{}\n", "{\"name\":", "```\n", "{\"a\":1,", "2}\n"} {
		if got := s.Write(piece); got.Text != piece {
			t.Fatalf("got %q of %q at once", got.Text, piece)
		}
	}
}

func TestScannerReadsLongCallsInPieces(t *testing.T) {
	tools := desktop(t)
	arguments := `{"text":` + quote(strings.Repeat("All {work} and no [play]. ", 400)) + `}`
	text := "Now.\n<tool_call>{\"name\":\"computer_paste_text\",\"arguments\":" + arguments + "}</tool_call>"
	got := pieces(tools, strings.SplitAfter(text, " ")...)
	if want := (Found{Text: "Now.", Calls: []Call{{Name: "computer_paste_text", Arguments: arguments}}}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %.200v", got)
	}
}

func FuzzScanner(f *testing.F) {
	for _, tt := range answers {
		f.Add(tt.text, uint(len(tt.text)/2))
	}
	tools := desktop(f)
	f.Fuzz(func(t *testing.T, text string, cut uint) {
		whole := tools.Find(text)
		for _, call := range whole.Calls {
			if call.Name == "" {
				t.Fatalf("a call without a name in %q", text)
			}
			if mended, problem := tools.Mend(call); problem == nil && !strict(mended.Arguments) {
				t.Fatalf("mended to %+v", mended)
			}
		}
		if len(whole.Calls) == 0 && whole.Text != text {
			t.Fatalf("got %q of %q without a call in it", whole.Text, text)
		}
		at := int(cut % uint(len(text)+1))
		if got := pieces(tools, text[:at], text[at:]); !reflect.DeepEqual(got, whole) {
			t.Fatalf("cut at %d: got %+v, want %+v", at, got, whole)
		}
	})
}
