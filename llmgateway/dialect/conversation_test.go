package dialect_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/dialect"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// chatMessage is a message as a chat's server reads it.
type chatMessage struct {
	Role      string `json:"role"`
	Content   any    `json:"content"`
	Answers   string `json:"tool_call_id"`
	ToolCalls []struct {
		ID string `json:"id"`
	} `json:"tool_calls"`
}

// conversation returns the messages that a chat becomes.
func conversation(t *testing.T, c *dialect.Chat) []chatMessage {
	t.Helper()
	native, err := openai.Read(llmgateway.Messages, llmgateway.NewBody([]byte(`{"model":"m"}`)))
	if err != nil {
		t.Fatal(err)
	}
	req := c.Request(native)
	var body struct {
		Messages []chatMessage `json:"messages"`
	}
	if err := json.Unmarshal(req.Body.Bytes, &body); err != nil {
		t.Fatalf("%v: %s", err, req.Body.Bytes)
	}
	return body.Messages
}

// TestResultsAreBehindTheirCalls plays conversations whose results come late and mixed with what the user says.
func TestResultsAreBehindTheirCalls(t *testing.T) {
	image := dialect.Image(nil, []byte("data:image/png;base64,AAAA"))
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 0))
		var c dialect.Chat
		id := 0
		for range 1 + r.IntN(5) {
			c.User(dialect.Plain("go"))
			c.Thought(dialect.Plain("hm"))
			var open []openai.Value
			for range r.IntN(4) {
				id++
				open = append(open, dialect.Quote(fmt.Sprint(id)))
				c.Call(open[len(open)-1], openai.Value(`"f"`), []byte("{}"))
			}
			for _, i := range r.Perm(len(open)) {
				c.Result(open[i], dialect.Plain("done"), image)
				if r.IntN(2) == 0 {
					c.User(dialect.Plain("look"), image)
				}
				if r.IntN(2) == 0 {
					c.Result(open[i], dialect.Plain("and more"))
				}
			}
		}
		var open []string
		last := ""
		for i, m := range conversation(t, &c) {
			switch {
			case m.Role != "tool" && len(open) > 0:
				t.Fatalf("seed %d: message %d of %s is in front of the results of %v", seed, i, m.Role, open)
			case m.Role != "tool" && m.Role == last:
				t.Fatalf("seed %d: two messages of %s in a row", seed, m.Role)
			case m.Role == "tool":
				at := slices.Index(open, m.Answers)
				if at < 0 {
					t.Fatalf("seed %d: message %d answers %s, which is not open: %v", seed, i, m.Answers, open)
				}
				open = slices.Delete(open, at, at+1)
			}
			for _, call := range m.ToolCalls {
				open = append(open, call.ID)
			}
			last = m.Role
		}
	}
}

func TestResultsWithoutACallStayInOrder(t *testing.T) {
	var c dialect.Chat
	c.User(dialect.Plain("x"))
	c.Result(openai.Value(`"lost"`), dialect.Plain("found"))
	got := conversation(t, &c)
	if len(got) != 2 || got[0].Role != "user" || got[1].Answers != "lost" {
		t.Errorf("got %+v", got)
	}
}

func TestAppendQuotedSaysTheSameAsTheStandardLibrary(t *testing.T) {
	for _, s := range []string{"", "plain", "\"\\/\n\t\r\b\f\x00\x1f", "größer 😀", "\xff broken \xc3"} {
		var got string
		if err := json.Unmarshal(dialect.Quote(s), &got); err != nil {
			t.Errorf("quoting %q: %v", s, err)
			continue
		}
		want, _ := json.Marshal(s)
		var wanted string
		_ = json.Unmarshal(want, &wanted)
		if got != wanted {
			t.Errorf("got %q, want %q", got, wanted)
		}
	}
}

func TestShedKeepsAllButTheConversation(t *testing.T) {
	body := `{"model":"m", "messages":[{"role":"user","content":"x"}] ,"stop_sequences":["a"],"input":"y", "metadata":{"a" : 1}}`
	native, err := openai.Read(llmgateway.Messages, llmgateway.NewBody([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	req := &llmgateway.Request{Native: native}
	dialect.Shed(req)
	if got, want := string(req.Native.Body.Bytes), `{"model":"m","stop_sequences":["a"],"metadata":{"a" : 1}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	read, err := openai.Read(llmgateway.Messages, req.Native.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(read.Members, req.Native.Members) {
		t.Errorf("got members %v, want %v", req.Native.Members, read.Members)
	}
	if native.Body.Bytes != nil {
		t.Error("the client's body was kept")
	}
}
