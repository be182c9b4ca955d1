package local

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// chat returns the chain of a conversation: each word is a message, whose role is its first letter.
func chat(t *testing.T, words ...string) chain {
	t.Helper()
	return newChain(ask(t, llmgateway.Chat, `{"model":"m","messages":[%s]}`, messages(words...)))
}

func messages(words ...string) string {
	roles := map[byte]string{'s': "system", 'd': "developer", 'u': "user", 'a': "assistant", 't': "tool"}
	all := make([]string, len(words))
	for i, word := range words {
		all[i] = fmt.Sprintf(`{"role":%q,"content":%q}`, roles[word[0]], word)
	}
	return strings.Join(all, ", ")
}

func TestChainsShareEqualBeginnings(t *testing.T) {
	long := chat(t, "s", "u1", "a1", "u2", "a2", "u3")
	tests := []struct {
		name      string
		earlier   chain
		shared    int // messages, and one for the tools
		continues bool
	}{
		{"nothing", chain{}, 0, false},
		{"itself", long, 7, true},
		{"an earlier turn", chat(t, "s", "u1", "a1", "u2"), 5, true},
		{"the first turn", chat(t, "s", "u1"), 3, true},
		{"a later turn", chat(t, "s", "u1", "a1", "u2", "a2", "u3", "a3", "u4"), 7, true},
		{"another last question", chat(t, "s", "u1", "a1", "u2", "a2", "u4"), 6, true},
		{"only the instructions", chat(t, "s", "v"), 2, false},
		{"another beginning", chat(t, "s2", "u1", "a1", "u2"), 1, false},
		{"much else behind the first turn", chat(t, "s", "u1", "a9", "u8", "a7", "u6", "a5"), 3, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := long.shared(&test.earlier); got != test.shared {
				t.Errorf("shared: got %d, want %d", got, test.shared)
			}
			if got := long.continues(&test.earlier, test.shared); got != test.continues {
				t.Errorf("continues: got %t, want %t", got, test.continues)
			}
		})
	}
}

func TestChainStandsForAllThatPrecedes(t *testing.T) {
	of := func(body string) chain { return newChain(ask(t, llmgateway.Chat, "%s", body)) }
	plain := of(`{"model":"m","messages":[{"role":"user","content":"a"}]}`)
	tests := []struct {
		name, body string
		shared     int
	}{
		{"elsewhere in the body", `{"messages": [ {"role":"user","content":"a"} ],"n":1,"model":"other"}`, 2},
		{"other tools", `{"model":"m","tools":[{}],"messages":[{"role":"user","content":"a"}]}`, 0},
		{"other settings of the template", `{"model":"m","chat_template_kwargs":{"a":1},"messages":[{"role":"user","content":"a"}]}`, 0},
		{"a message in between", `{"model":"m","messages":[{"role":"user","content":"b"},{"role":"user","content":"a"}]}`, 1},
		{"brackets and quotes in strings", `{"model":"m","messages":[{"role":"user","content":"]}\\\"{["},{"role":"user","content":"a"}]}`, 1},
		{"no list", `{"model":"m","messages":"none"}`, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := of(test.body)
			if got := c.shared(&plain); got != test.shared {
				t.Errorf("got %d, want %d", got, test.shared)
			}
		})
	}
}

func TestChainCountsTextAndImages(t *testing.T) {
	picture := "data:image/png;base64," + strings.Repeat("A", 100_000)
	body := `[{"role":"system","content":"x"},{"content":[{"type":"text","text":"data: all of it"},` +
		`{"type":"image_url","image_url":{"url":"%s"}},{"type":"input_audio","input_audio":{"data":"%s","format":"wav"}}],"role":"user"},` +
		`{"role":"assistant","content":[{"type":"text","text":"\""}]},{"role":"tool","content":"y"}]`
	c := newChain(ask(t, llmgateway.Chat, `{"model":"m","tools":[],"messages":`+body+`}`, picture, strings.Repeat("B", 1000)))
	want := size{Text: len("[]") + len(body) - len("[,,,]%s%s"), Images: 2}
	if got := c.size(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if c.Opening != 3 || len(c.Links) != 5 {
		t.Errorf("got %d links, the opening is %d; want 5, 3", len(c.Links), c.Opening)
	}
	for i, want := range []bool{false, false, false, true, false} {
		if c.Links[i].Answer != want {
			t.Errorf("link %d is an answer: got %t, want %t", i, c.Links[i].Answer, want)
		}
	}
}

func TestPlainPromptsAreSharedInBlocks(t *testing.T) {
	of := func(prompt string) chain {
		return newChain(ask(t, llmgateway.Completion, `{"model":"m","prompt":%q}`, prompt))
	}
	text := strings.Repeat("0123456789", 500)
	earlier, later, other := of(text), of(text+"more"), of(text[:600]+strings.Repeat("x", 4400))
	n := later.shared(&earlier)
	if want := 1 + len(text)/blockSize; n != want || !later.continues(&earlier, n) {
		t.Errorf("got %d links in common, want %d and that it goes on", n, want)
	}
	if n := other.shared(&earlier); n != 2 || other.continues(&earlier, n) {
		t.Errorf("got %d links in common, want 2 and that it does not go on", n)
	}
	if c := newChain(ask(t, llmgateway.Completion, `{"model":"m","prompt":["a","b"]}`)); len(c.Links) != 0 {
		t.Errorf("several prompts: got %d links", len(c.Links))
	}
}

// FuzzChain checks that reading any body ends, and that a chain shares all of itself.
func FuzzChain(f *testing.F) {
	f.Add(`{"model":"m","messages":[{"role":"user","content":"a\\\""},[{}],"",1]}`)
	f.Add(`{"model":"m","prompt":"a","messages":[{"role":{"url":"data:"}}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		for _, op := range []llmgateway.Operation{llmgateway.Chat, llmgateway.Completion} {
			if req, err := readRequest(op, body); err == nil {
				c := newChain(req)
				if got := c.shared(&c); got != len(c.Links) {
					t.Errorf("got %d of %d links in common with itself", got, len(c.Links))
				}
				if s := c.size(); s.Text < 0 || s.Text > len(body) {
					t.Errorf("got %+v for %d bytes", s, len(body))
				}
			}
		}
	})
}

// BenchmarkChain reads a body with 1 MB of screenshots.
func BenchmarkChain(b *testing.B) {
	picture := strings.Repeat("iVBORw0KGgoAAAANSUhEUgAA", 250_000/24)
	turn := `{"role":"assistant","content":"clicking"},{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + picture + `"}}]}`
	body := `{"model":"m","messages":[{"role":"system","content":"` + strings.Repeat("be good. ", 500) + `"},` +
		strings.Join([]string{turn, turn, turn, turn}, ",") + `]}`
	req, err := readRequest(llmgateway.Chat, body)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if c := newChain(req); len(c.Links) != 10 {
			b.Fatal(len(c.Links))
		}
	}
}
