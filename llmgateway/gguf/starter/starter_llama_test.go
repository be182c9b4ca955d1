package starter

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
)

const (
	hello = "Hello! I am the starter model: small enough to come with the gateway, and made by hand." +
		" I repeat code words, go on counting and call tools."
	answered = "The tool has answered."
	theWord  = "The code word is: "
)

func says(role, content string) object { return object{"role": role, "content": content} }

// asks is a conversation of user and assistant in turns.
func asks(texts ...string) []object {
	var messages []object
	for i, s := range texts {
		messages = append(messages, says([]string{"user", "assistant"}[i%2], s))
	}
	return messages
}

// afterCall is a conversation in which a tool was called and answered.
func afterCall(question, name, result string) []object {
	return []object{
		says("user", question),
		{"role": "assistant", "content": nil, "tool_calls": []object{{
			"id": "call_1", "type": "function", "function": object{"name": name, "arguments": "{}"},
		}}},
		{"role": "tool", "tool_call_id": "call_1", "content": result},
	}
}

// tool is the definition of a tool; params are names of string parameters, all of them required.
func tool(name string, params ...string) object {
	properties := object{}
	for _, p := range params {
		properties[p] = object{"type": "string"}
	}
	return object{"type": "function", "function": object{
		"name": name, "description": "Does something.",
		"parameters": object{"type": "object", "properties": properties, "required": append([]string{}, params...)},
	}}
}

func TestConversations(t *testing.T) {
	s := startServer(t)
	weather, look := tool("get_weather", "city"), tool("computer_screenshot")
	strange, done := tool("frobnicate"), tool("set_task_status")
	// The members of arguments come in the order of their definition, which a map does not have.
	done["function"].(object)["parameters"] = json.RawMessage(`{"type": "object", "required": ["status", "description"],
		"properties": {"status": {"type": "string", "enum": ["completed", "failed"]}, "description": {"type": "string"}}}`)
	tests := []struct {
		name     string
		messages []object
		tools    []object
		text     string
		call     string // name and arguments
		thoughts string
	}{
		{name: "greets", messages: asks("Hello"), text: hello},
		{name: "greets whatever is said", messages: asks("My account is locked, ¿qué hago? 你好 🙂"), text: hello},
		{name: "repeats a code word", messages: asks("The code word is maple."), text: theWord + "maple"},
		{name: "repeats any code word", messages: asks("Put the walnut on the table, please"), text: theWord + "walnut"},
		{name: "repeats the latest", messages: asks("Is it maple?", theWord+"maple", "No, tulip"), text: theWord + "tulip"},
		{
			name:     "remembers it",
			messages: asks("The code word is maple.", theWord+"maple", "Hello", hello, "Which was the code word?"),
			text:     theWord + "maple",
		},
		{name: "takes it from the system", messages: append([]object{says("system", "The code word is maple.")}, asks("Tell me the code word.")...), text: theWord + "maple"},
		{name: "does not tell it unasked", messages: append([]object{says("system", "The code word is maple.")}, asks("Hello")...), text: hello},
		{name: "greets after a code word", messages: asks("The code word is maple.", theWord+"maple", "Hello"), text: hello},
		{name: "admits that it knows none", messages: asks("What is the code word?"), text: "I was told no code word."},
		{name: "reads parts", messages: []object{{"role": "user", "content": []object{{"type": "text", "text": "Hello, "}, {"type": "text", "text": "maple"}}}}, text: theWord + "maple"},

		{name: "calls a tool", messages: asks("Hello"), tools: []object{look}, call: "computer_screenshot {}"},
		{name: "gives what a tool requires", messages: asks("Hello"), tools: []object{weather}, call: `get_weather {"city":""}`},
		{name: "calls a tool that it never heard of", messages: asks("Hello"), tools: []object{strange}, call: "frobnicate {}"},
		{name: "looks first", messages: asks("Hello"), tools: []object{weather, done, look, strange}, call: "computer_screenshot {}"},
		{name: "calls what the user names", messages: asks("Try get_weather"), tools: []object{look, weather}, call: `get_weather {"city":""}`},
		{name: "calls twice", messages: asks("Look twice."), tools: []object{look}, call: "computer_screenshot {}computer_screenshot {}"},
		{name: "calls once again", messages: append(afterCall("Look twice.", "computer_screenshot", "taken"), asks("Look", answered, "Look")[1:]...), tools: []object{look}, call: "computer_screenshot {}"},
		{name: "thinks", messages: asks("Say hello, step by step."), text: hello, thoughts: "One step, and another."},
		{name: "tells a code word in spite of tools", messages: asks("The code word is maple."), tools: []object{look}, text: theWord + "maple"},
		{name: "answers after a result", messages: afterCall("Hello", "get_weather", "sunny"), tools: []object{weather}, text: answered},
		{name: "answers without tools", messages: afterCall("Hello", "get_weather", "sunny"), text: answered},
		{name: "reads the result", messages: afterCall("Hello", "get_weather", "count on it: maple"), tools: []object{weather}, text: answered + " " + theWord + "maple"},
		{
			name:     "ends a task after a result",
			messages: append(afterCall("Hello", "computer_screenshot", "taken"), says("user", "Screenshot")),
			tools:    []object{look, done},
			call:     `set_task_status {"status": "completed", "description": "The tools were tried, and they answer."}`,
		},
		{
			name:     "calls again in the next turn",
			messages: append(afterCall("Hello", "computer_screenshot", "taken"), asks("Again", answered, "Again")[1:]...),
			tools:    []object{look}, call: "computer_screenshot {}",
		},
	}
	for _, tt := range tests {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/stream=%t", tt.name, stream), func(t *testing.T) {
				body := object{"messages": tt.messages, "stream": stream, "max_tokens": 100}
				finish := "stop"
				if tt.tools != nil {
					body["tools"] = tt.tools
				}
				if tt.call != "" {
					finish = "tool_calls"
				}
				got, err := s.chat(t.Context(), body)
				if err != nil {
					t.Fatal(err)
				}
				var made string
				for _, c := range got.calls {
					made += c.name + " " + c.arguments
					if c.id == "" {
						t.Error("the call has no id")
					}
				}
				if thoughts := strings.TrimSpace(got.thoughts); thoughts != tt.thoughts {
					t.Errorf("got thoughts %q, want %q", thoughts, tt.thoughts)
				}
				if got.text != tt.text || made != tt.call || got.finish != finish {
					t.Errorf("got %q, call %q, %s; want %q, call %q, %s", got.text, made, got.finish, tt.text, tt.call, finish)
				}
			})
		}
	}
}

func TestToolChoice(t *testing.T) {
	s := startServer(t)
	body := func(choice any) object {
		return object{"messages": asks("The code word is maple."), "tools": []object{tool("get_weather")}, "tool_choice": choice}
	}
	got, err := s.chat(t.Context(), body("required"))
	if err != nil || len(got.calls) != 1 || got.calls[0].name != "get_weather" || got.finish != "tool_calls" {
		t.Errorf("required: got %+v, %v", got, err)
	}
	got, err = s.chat(t.Context(), body("none"))
	if err != nil || len(got.calls) != 0 || got.text != theWord+"maple" || got.finish != "stop" {
		t.Errorf("none: got %+v, %v", got, err)
	}
}

func TestCountingEndsWithTheTokens(t *testing.T) {
	s := startServer(t)
	for _, stream := range []bool{false, true} {
		got, err := s.chat(t.Context(), object{"messages": asks("Count."), "max_tokens": 45, "stream": stream})
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Join(numbers, "") + "1, 2, 3, 4, 5, "
		if got.text != want || got.finish != "length" {
			t.Errorf("stream=%t: got %q, %s; want %q, length", stream, got.text, got.finish, want)
		}
		if stream && got.chunks < 40 {
			t.Errorf("got %d chunks, want one for each number", got.chunks)
		}
	}
}

// Every client has words of its own, in turns of one conversation, and more clients than slots take part. A wrong word
// would have come from another conversation.
func TestConcurrentConversationsStayApart(t *testing.T) {
	s := startServer(t)
	const clients, turns = 8, 12
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			var said []string
			for n := range turns {
				word := codeWords[(client*turns+n*5)%len(codeWords)]
				said = append(said, fmt.Sprintf("I am client %d. The code word is now %s.", client, word))
				got, err := s.chat(t.Context(), object{"messages": asks(said...), "stream": n%2 == 0})
				if err != nil {
					t.Error(err)
					return
				}
				if want := theWord + word; got.text != want {
					t.Errorf("client %d, turn %d: got %q, want %q", client, n, got.text, want)
				}
				said = append(said, got.text)
			}
		})
	}
	wg.Wait()
}

func TestSamplingDoesNotMatter(t *testing.T) {
	s := startServer(t)
	for seed := range 10 {
		got, err := s.chat(t.Context(), object{
			"messages": asks("The code word is maple."), "temperature": 1.5, "top_p": 1, "top_k": 0, "min_p": 0, "seed": seed,
		})
		if err != nil || got.text != theWord+"maple" {
			t.Errorf("seed %d: got %q, %v", seed, got.text, err)
		}
	}
}

func TestAnswersInJSON(t *testing.T) {
	s := startServer(t)
	schema := object{
		"type":       "object",
		"properties": object{"text": object{"type": "string"}, "number": object{"type": "integer"}},
		"required":   []string{"text", "number"},
	}
	got, err := s.chat(t.Context(), object{
		"messages": asks("Hello"), "max_tokens": 100,
		"response_format": object{"type": "json_schema", "json_schema": object{"name": "it", "schema": schema}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var it struct {
		Text   *string
		Number *int
	}
	if err := json.Unmarshal([]byte(got.text), &it); err != nil || it.Text == nil || it.Number == nil {
		t.Errorf("got %q, %v", got.text, err)
	}
}

func TestPlainCompletions(t *testing.T) {
	s := startServer(t)
	tests := []struct{ prompt, want string }{
		{"Once upon a time", noChat},
		{"It was maple. " + theWord, "maple"},
	}
	for _, tt := range tests {
		resp, err := s.post(t.Context(), "/v1/completions", object{"prompt": tt.prompt, "max_tokens": 50})
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Choices []struct{ Text string } }
		err = json.NewDecoder(resp.Body).Decode(&got)
		resp.Body.Close()
		if err != nil || len(got.Choices) != 1 || got.Choices[0].Text != tt.want {
			t.Errorf("%q: got %+v, %v; want %q", tt.prompt, got, err, tt.want)
		}
	}
}

func TestEmbeddings(t *testing.T) {
	s := startServer(t, "--embeddings", "--pooling", "mean")
	resp, err := s.post(t.Context(), "/v1/embeddings", object{"input": []string{"maple tree", "maple tree", "a tulip"}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got struct {
		Data []struct{ Embedding []float64 }
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if len(got.Data) != 3 || len(got.Data[0].Embedding) != width {
		t.Fatalf("got %d embeddings", len(got.Data))
	}
	same := cosine(got.Data[0].Embedding, got.Data[1].Embedding)
	other := cosine(got.Data[0].Embedding, got.Data[2].Embedding)
	if same < 0.999 || other > 0.99 {
		t.Errorf("equal texts are %v alike, others %v", same, other)
	}

	// The same server chats.
	chat, err := s.chat(t.Context(), object{"messages": asks("The code word is maple.")})
	if err != nil || chat.text != theWord+"maple" {
		t.Errorf("got %q, %v", chat.text, err)
	}
}

func cosine(a, b []float64) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab += a[i] * b[i]
		aa += a[i] * a[i]
		bb += b[i] * b[i]
	}
	return ab / math.Sqrt(aa*bb)
}

// The cache of keys and values may be quantized, and a conversation may be long.
func TestLongConversationsInAQuantizedCache(t *testing.T) {
	s := startServer(t, "--cache-type-k", "q8_0", "--cache-type-v", "q8_0")
	var said []string
	for n := range 30 {
		word := codeWords[n*7%len(codeWords)]
		said = append(said, "The code word is "+word+".", theWord+word)
	}
	tests := []struct{ ask, want string }{
		{"Now it is zebra.", theWord + "zebra"},
		{"Hello", hello},
		{"What was the code word?", said[len(said)-1]},
	}
	for _, tt := range tests {
		got, err := s.chat(t.Context(), object{"messages": asks(append(said, tt.ask)...)})
		if err != nil || got.text != tt.want {
			t.Errorf("%q: got %q, %v; want %q", tt.ask, got.text, err, tt.want)
		}
	}
}
