package bytebot

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

// Clients decide how many calls there are in a row, so each is looked up once, and not with each that follows.
func TestManyCallsInARowAreLookedUpOnceEach(t *testing.T) {
	const many = 3000
	messages := []string{task}
	for i := range many {
		messages = append(messages, calls(fmt.Sprint("call_", i%2), "computer_type_text", fmt.Sprintf(`{"text":"%d"}`, i)))
	}
	c, ok := read(request(t, body(messages...)))
	if !ok {
		t.Fatal("not read")
	}
	lookups := 0
	p := c.arrange(func(string) uint64 {
		lookups++
		return 7
	})
	if lookups > many {
		t.Errorf("%d lookups for %d calls", lookups, many)
	}
	if len(p.turns) != 2+many { // the task, the turn, and for each call that there is no answer
		t.Errorf("%d turns", len(p.turns))
	}
	ids := make(map[string]bool)
	for _, turn := range p.turns[2:] {
		ids[turn.answers] = true
	}
	if len(ids) != many || !ids[`"call_0"`] || !ids[`"call_1_2"`] {
		t.Errorf("%d ids for %d calls", len(ids), many)
	}
	if steps := c.steps(); len(steps) != 1 {
		t.Errorf("%d steps", len(steps))
	}
}

// What an image counts as is what leaving it out makes free, whatever is said of its detail.
func TestTokensOfImagesAreThoseThatThePromptHas(t *testing.T) {
	for _, detail := range []string{"", `,"detail":"low"`, `,"detail":"high"`} {
		image := `{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"` + detail + `}}`
		req := request(t, body(`{"role":"user","content":[`+image+`,`+image+`]}`))
		c, ok := read(req)
		if !ok {
			t.Fatal("not read")
		}
		messages, images, rest := c.tokens(req)
		if got, want := total(messages)+total(images)+rest, openai.PromptTokens(req); got < want-1 || got > want+1 || messages[0] < 0 || messages[0] > 3*tokensOfText {
			t.Errorf("%s: %v, %v and %d for %d", detail, messages, images, rest, want)
		}
	}
}

// An image that the user shows with the task stays when turns without images are left out.
func TestImageOfTheTaskStaysWhenTurnsAreLeftOut(t *testing.T) {
	messages := []string{`{"role":"user","content":[{"type":"text","text":"Do as shown."},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}`}
	for i := range 40 {
		id := fmt.Sprint("call_", i)
		messages = append(messages, says(strings.Repeat("look here ", 30)), calls(id, "computer_click_mouse", fmt.Sprintf(`{"x":1,"y":%d}`, i)), answers(id, "done"))
	}
	s := &server{says: fine, to: llmgateway.Destination{Limits: llmgateway.Limits{Context: 4000}}}
	if _, err := s.ask(t, newAdapter(t, Config{}), body(messages...)); err != nil {
		t.Fatal(err)
	}
	sent := s.sent[len(s.sent)-1]
	if !strings.Contains(sent, leftOutText) || !strings.Contains(sent, "base64,AAAA") {
		t.Errorf("sent %s", sent)
	}
}

// A list without a word of the user's is not made shorter, but for its images.
func TestConversationWithoutTheUsersWordsIsTaken(t *testing.T) {
	messages := []string{systemMessage}
	for i := range 30 {
		id := fmt.Sprint("call_", i)
		messages = append(messages, calls(id, "computer_click_mouse", fmt.Sprintf(`{"x":1,"y":%d}`, i)), answers(id, strings.Repeat("done ", 50)))
	}
	for _, context := range []int{0, 600, 4000} {
		s := &server{says: fine, to: llmgateway.Destination{Limits: llmgateway.Limits{Context: context}}}
		a := newAdapter(t, Config{KeepMessages: true, Options: Options{MaxRequestBytes: 1000}})
		if _, err := s.ask(t, a, body(messages...)); err != nil && llmgateway.AsError(err).Kind != llmgateway.ContextLength {
			t.Error(err)
		}
	}
}

// A model that can see is not asked to go on blindly where the service takes no image of that size: the user is told.
func TestModelIsNotMadeBlindWhereImagesAreTooLarge(t *testing.T) {
	s := &server{says: func(body map[string]any, raw string) (string, error) {
		if strings.Contains(raw, "base64,") {
			return "", &llmgateway.Error{Kind: llmgateway.Unsupported, Status: 413, Code: tooLarge, Message: "too large"}
		}
		return fine(body, raw)
	}}
	answer, err := s.ask(t, newAdapter(t, Config{}), body(longTask(3)...))
	if err != nil {
		t.Fatal(err)
	}
	if help := helpOf(answer); !strings.Contains(help, "larger than the service takes") {
		t.Errorf("the user is told %q", help)
	}
	for _, sent := range s.sent {
		if !strings.Contains(sent, "base64,") {
			t.Errorf("asked without an image: %s", sent)
		}
	}
}
