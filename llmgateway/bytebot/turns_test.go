package bytebot

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// What the agent sends is made of these. Its system prompt and its tools are longer; what matters is where they stand.
const (
	someTools = `[{"type":"function","function":{"name":"computer_screenshot","parameters":{"type":"object","properties":{}}}},` +
		`{"type":"function","function":{"name":"computer_click_mouse","parameters":{"type":"object","properties":{}}}},` +
		`{"type":"function","function":{"name":"set_task_status","parameters":{"type":"object","properties":{"status":{"type":"string"}}}}}]`
	systemMessage = `{"role":"system","content":"You drive a desktop of 1280 x 960 pixels."}`
	task          = `{"role":"user","content":"Press the blue button."}`
)

func says(text string) string { return `{"role":"assistant","content":` + quote(text) + `}` }
func thinks(text string) string {
	return `{"role":"assistant","content":null,"reasoning_content":` + quote(text) + `}`
}

func calls(id, name, arguments string) string {
	return `{"role":"assistant","tool_calls":[{"id":` + quote(id) + `,"type":"function","function":{"name":` + quote(name) + `,"arguments":` + quote(arguments) + `}}]}`
}

func answers(id, text string) string {
	return `{"role":"tool","tool_call_id":` + quote(id) + `,"content":` + quote(text) + `}`
}

func shows(base64 string) string {
	return `{"role":"user","content":[{"type":"text","text":"Screenshot"},{"type":"image_url","image_url":{"url":"data:image/png;base64,` + base64 + `","detail":"high"}}]}`
}

// body returns a request as the agent sends it.
func body(messages ...string) string {
	return `{"model":"m","messages":[` + strings.Join(messages, ",") + `],"max_tokens":8192,"tools":` + someTools + `,"reasoning_effort":"high"}`
}

func request(t testing.TB, text string) *llmgateway.Request {
	t.Helper()
	req, err := openai.Read(llmgateway.Chat, llmgateway.NewBody([]byte(text)))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// newAdapter returns an adapter with a memory of its own.
func newAdapter(t testing.TB, c Config) *Adapter {
	t.Helper()
	memory, err := NewMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(memory.Close)
	c.Memory = memory
	return New(c)
}

// adapted returns the body that goes on.
func adapted(t testing.TB, a *Adapter, text string) string {
	t.Helper()
	req, err := a.Adapt(t.Context(), request(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return string(req.Body.Bytes)
}

// messagesOf returns the messages of a body, and the roles in short: s, u, a, t, and c for an assistant's with calls.
func messagesOf(t testing.TB, text string) (messages []sent, roles string) {
	t.Helper()
	var decoded struct{ Messages []sent }
	if err := json.Unmarshal([]byte(text), &decoded); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	for _, m := range decoded.Messages {
		letter := m.Role[:1]
		if len(m.Calls) > 0 {
			letter = "c"
		}
		roles += letter
	}
	return decoded.Messages, roles
}

func TestConversationsAreBroughtIntoOrder(t *testing.T) {
	for _, test := range []struct {
		name     string
		messages []string
		roles    string
		says     []string // in this order, in the text of the messages
	}{
		{
			"a turn that came in pieces is one message",
			[]string{systemMessage, task, says("I see it."), thinks("At 640,480."), calls("call_2", "computer_click_mouse", `{"x":1}`), answers("call_2", "done")},
			"suct",
			[]string{"Press", "I see it.", "done"},
		},
		{
			"the answers of parallel calls follow their calls",
			[]string{
				systemMessage, task, calls("p1", "computer_screenshot", "{}"), calls("p2", "computer_cursor_position", "{}"), calls("p3", "computer_type_text", `{"text":"hi"}`),
				answers("p1", "screenshot"), shows("AAAA"), answers("p2", "640, 480"), answers("p3", "done"), shows("BBBB"),
			},
			"suctttu",
			[]string{"Press", "screenshot", "640, 480", "done", "Screenshot<image>Screenshot<image>"},
		},
		{
			"a call without an answer gets one that says so",
			[]string{systemMessage, task, calls("r1", "computer_read_file", `{"path":"/a"}`)},
			"suct",
			[]string{unansweredText},
		},
		{
			"a list that ends with the model's own words goes on",
			[]string{systemMessage, task, says("Hello."), says("Hello again.")},
			"suau",
			[]string{"Hello.\n\nHello again.", "set_task_status"},
		},
		{
			"a list that ends with thoughts goes on",
			[]string{systemMessage, task, thinks("Hm.")},
			"suau",
			[]string{goOnStatusText},
		},
		{
			"the user's messages in a row are one",
			[]string{systemMessage, task, shows("AAAA"), `{"role":"user","content":"Faster."}`},
			"su",
			[]string{"Press the blue button.Screenshot<image>Faster."},
		},
		{
			"an answer whose call was summarised is the user's word",
			[]string{systemMessage, task, answers("gone", "640, 480")},
			"su",
			[]string{"Press", strayText + "640, 480"},
		},
		{
			"the model does not have the first word",
			[]string{systemMessage, says("I did it."), task},
			"suau",
			[]string{openingText, "I did it.", "Press"},
		},
		{
			"somebody says something",
			[]string{systemMessage},
			"su",
			[]string{goOnStatusText},
		},
		{
			"in one turn no two calls have the same id",
			[]string{systemMessage, task, calls("call_0", "a", "{}"), calls("call_0", "b", "{}"), answers("call_0", "of b"), answers("call_0", "of a")},
			"suctt",
			[]string{"of a", "of b"},
		},
		{
			"the same id in another turn is another call",
			[]string{systemMessage, task, calls("call_0", "a", "{}"), answers("call_0", "one"), calls("call_0", "a", "{}"), answers("call_0", "two")},
			"suctct",
			[]string{"one", "two"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := adapted(t, newAdapter(t, Config{}), body(test.messages...))
			messages, roles := messagesOf(t, got)
			if roles != test.roles {
				t.Errorf("got roles %s, want %s in %s", roles, test.roles, got)
			}
			if err := checkOpenAI(messages); err != nil {
				t.Errorf("%v in %s", err, got)
			}
			all := ""
			for _, m := range messages {
				all += m.text() + "\n"
			}
			rest := all
			for _, want := range test.says {
				_, after, ok := strings.Cut(rest, want)
				if !ok {
					t.Errorf("%q is missing behind what comes before it in:\n%s", want, all)
				}
				rest = after
			}
		})
	}
}

// The pieces of a turn keep their bytes: what nobody knows of is not lost.
func TestMergedTurnKeepsItsPieces(t *testing.T) {
	got := adapted(t, newAdapter(t, Config{}), body(systemMessage, task,
		`{"role":"assistant","content":"One \u00e9\n","refusal":null}`,
		`{"role":"assistant","content":null,"reasoning_content":"Two \"quoted\""}`,
		`{"role":"assistant","tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"{\"b\":1.50,\"a\":[]}"},"extra":{"n":1.0}}]}`,
		answers("x", "done")))
	want := `{"role":"assistant","content":"One \u00e9\n","reasoning_content":"Two \"quoted\"","tool_calls":[` +
		`{"id":"x","type":"function","function":{"name":"f","arguments":"{\"b\":1.50,\"a\":[]}"},"extra":{"n":1.0}}],"refusal":null}`
	if !strings.Contains(got, want) {
		t.Errorf("got  %s\nwant %s in it", got, want)
	}
}

func TestWellFormedConversationPassesByteForByte(t *testing.T) {
	text := ` { "model" : "m", "unknown": {"n": 1.0e2}, "messages" : [ ` + strings.Join([]string{
		systemMessage, task, `{"role":"assistant", "content":null, "tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]}`,
		answers("a", "done"), shows("AAAA"), says("I am done."), `{"content": "Thanks.", "role": "user", "name": "u"}`,
	}, " ,\n ") + ` ] , "tools":` + someTools + ` } `
	req := request(t, text)
	next, err := newAdapter(t, Config{}).Adapt(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if next.Body != req.Body || string(next.Body.Bytes) != text {
		t.Errorf("got %s", next.Body.Bytes)
	}
}

func TestRepairCanBeSwitchedOff(t *testing.T) {
	text := body(systemMessage, task, says("a"), says("b"))
	if got := adapted(t, newAdapter(t, Config{KeepMessages: true}), text); got != text {
		t.Errorf("got %s", got)
	}
}

// someBlocks returns a conversation of the agent's: any of its blocks, in any order.
func someBlocks(random *rand.Rand) []string {
	var open []string
	messages := []string{systemMessage}
	if random.IntN(4) > 0 {
		messages = append(messages, task)
	}
	for i := range random.IntN(24) {
		id := fmt.Sprintf("call_%d", i)
		if random.IntN(6) == 0 {
			id = "call_0" // some models begin anew in each turn
		}
		switch random.IntN(9) {
		case 0:
			messages = append(messages, says(fmt.Sprintf("Word %d.", i)))
		case 1:
			messages = append(messages, thinks(fmt.Sprintf("Thought %d.", i)))
		case 2, 3, 4:
			messages = append(messages, calls(id, "computer_click_mouse", `{"button":"left","coordinates":{"x":1,"y":2}}`))
			open = append(open, id)
		case 5, 6:
			if len(open) == 0 || random.IntN(12) == 0 {
				messages = append(messages, answers("call_gone", "stray"))
				continue
			}
			k := random.IntN(len(open))
			messages = append(messages, answers(open[k], fmt.Sprintf("Result %d.", i)))
			open = slices.Delete(open, k, k+1)
		case 7:
			messages = append(messages, shows(fmt.Sprintf("AAA%d", i)))
		case 8:
			messages = append(messages, `{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,BBBB"}}]}`)
		}
	}
	return messages
}

// TestAnyConversationSuitsAllFamilies gives each family's target, at most a few times in its life, a request that it refuses: what
// it says to that decides the form of all later ones.
func TestAnyConversationSuitsAllFamilies(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	a := newAdapter(t, Config{KeepEqualImages: true, Options: Options{MaxImages: -1}})
	learned := make([]lesson, len(families))
	refused := make([]int, len(families))
	for range 120 {
		messages := someBlocks(random)
		text := body(messages...)
		mended := adapted(t, a, text)
		if again := adapted(t, a, mended); again != mended {
			t.Fatalf("not idempotent:\n%s\n%s\n%s", text, mended, again)
		}
		for i, f := range families {
			for {
				req, err := learned[i].form.in(request(t, mended))
				if err != nil {
					t.Fatal(err)
				}
				got, _ := messagesOf(t, string(req.Body.Bytes))
				err = f.check(got)
				if err == nil {
					checkNothingLost(t, text, string(req.Body.Bytes))
					break
				}
				refused[i]++
				next, ok := learned[i].learn(&llmgateway.Error{Kind: llmgateway.InvalidRequest, Message: err.Error()}, 0)
				if learned[i] = next; !ok {
					t.Fatalf("%s: %v\nof %s\nmade of %s", f.name, err, req.Body.Bytes, text)
				}
			}
		}
	}
	for i, f := range families {
		t.Logf("%s: refused %d, form %b", f.name, refused[i], learned[i].form)
		if refused[i] > 3 {
			t.Errorf("%s refused %d requests", f.name, refused[i])
		}
	}
	if refused[0] > 0 {
		t.Errorf("OpenAI refused %d requests", refused[0])
	}
}

// checkNothingLost reports what the agent said and the model does not get to read. Thoughts may be left out.
func checkNothingLost(t *testing.T, from, to string) {
	t.Helper()
	for _, word := range []string{"Word ", "Result ", "stray", "computer_click_mouse", "base64,"} {
		for i := range 24 {
			piece := word
			if word != "stray" && !strings.HasSuffix(word, "mouse") && word != "base64," {
				piece = fmt.Sprintf("%s%d.", word, i)
			}
			if got, want := strings.Count(to, piece), strings.Count(from, piece); got != want {
				t.Fatalf("%q is there %d times, want %d times\nin %s\nmade of %s", piece, got, want, to, from)
			}
		}
	}
}

// Turn by turn, the agent's conversation grows at its end. So does what the model gets to read.
func TestGrowingConversationKeepsItsPrefix(t *testing.T) {
	messages, a := []string{systemMessage, task}, newAdapter(t, Config{})
	before := ""
	for i := range 8 {
		id := fmt.Sprintf("call_%d", i)
		messages = append(messages, says("On it."), thinks("Hm."), calls(id, "computer_click_mouse", "{}"), answers(id, "done"), shows(fmt.Sprintf("AAA%d", i)))
		got := adapted(t, a, body(messages...))
		list, _, _ := strings.Cut(got, `],"max_tokens"`)
		if !strings.HasPrefix(list, before) {
			t.Fatalf("turn %d: the beginning changed:\n%s\n%s", i, before, list)
		}
		before = list
	}
}

func FuzzAdapt(f *testing.F) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 10 {
		f.Add([]byte(body(someBlocks(random)...)))
	}
	f.Add([]byte(`{"model":"m","messages":[{"role":"assistant","content":[],"tool_calls":[{"id":null}]},{"role":"tool"},5]}`))
	a := newAdapter(f, Config{})
	f.Fuzz(func(t *testing.T, text []byte) {
		req, err := openai.Read(llmgateway.Chat, llmgateway.NewBody(bytes.Clone(text)))
		if err != nil {
			return
		}
		next, err := a.Adapt(t.Context(), req)
		if err != nil {
			t.Fatalf("%v of %q", err, text)
		}
		again, err := a.Adapt(t.Context(), next)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Body.Bytes, next.Body.Bytes) {
			t.Fatalf("not idempotent: %q, %q, %q", text, next.Body.Bytes, again.Body.Bytes)
		}
		for _, f := range []form{alternating | oneCall | shortIDs, thoughtless, plain} {
			if _, err := f.in(next); err != nil {
				t.Fatalf("%v of %q in form %d", err, text, f)
			}
		}
	})
}
