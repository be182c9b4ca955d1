package bytebot

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// form is how a target wants conversations beyond what all want. The zero value is OpenAI's form.
type form uint8

const (
	// alternating has a word of the model's between an answer of a tool and a word of the user's. Mistral's templates and service
	// want it.
	alternating form = 1 << iota
	// oneCall has one call in each message, as Llama 3's templates want it.
	oneCall
	// shortIDs has ids of nine letters and digits, as Mistral's templates and service want them.
	shortIDs
	// thoughtless leaves out what the model thought.
	thoughtless
	// plain has users' and assistants' messages only, which alternate: calls, their answers and the system's words are texts. All
	// templates take it.
	plain
)

// bridgeText is what the model says between a tool's answer and a user's word where it must say something.
const bridgeText = "I have the result."

// in returns a request whose conversation, which is in order, has the form.
func (f form) in(req *llmgateway.Request) (*llmgateway.Request, error) {
	c, ok := read(req)
	if !ok {
		return req, nil
	}
	return (&shape{form: f, c: c}).of(req)
}

// shape is a conversation that is written in a form.
type shape struct {
	form
	c     *conversation
	edits edits
	// left are messages that are left out: those from its start up to its end.
	left span
	w    *writer
	some bool // a message has been written
}

// of returns a request with the conversation in the form, or req itself if it has it.
func (s *shape) of(req *llmgateway.Request) (*llmgateway.Request, error) {
	if s.form&shortIDs != 0 {
		s.shortenIDs()
	}
	if s.form&^shortIDs == 0 && len(s.edits) == 0 && s.left.none() {
		return req, nil
	}
	return rewritten(req, s.c, s.edits, s.write)
}

// idLength is the length of ids that Mistral takes.
const idLength = 9

// shortenIDs replaces ids that are not of nine letters and digits. Equal ids stay equal, in later requests too.
func (s *shape) shortenIDs() {
	shorten := func(id string, at span) {
		if !at.none() && !short(id) {
			sum := sha256.Sum256([]byte(id))
			s.edits.replace(at, quote(hex.EncodeToString(sum[:])[:idLength]))
		}
	}
	for _, m := range s.c.messages {
		for _, call := range m.calls {
			shorten(call.id, call.idAt)
		}
		shorten(m.answers, m.answersAt)
	}
}

func short(id string) bool {
	for _, c := range id {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return len(id) == idLength
}

func (s *shape) write(w *writer) {
	s.w = w
	w.text("[")
	if s.form&plain != 0 {
		s.plain()
	} else {
		for i := 0; i < len(s.c.messages); i++ {
			if i < s.left.start || i >= s.left.end {
				i += s.message(i)
			}
		}
	}
	w.text("]")
}

// begin starts a message.
func (s *shape) begin() {
	if s.some {
		s.w.text(",")
	}
	s.some = true
}

// message writes a message, and returns how many of those behind it were written with it.
func (s *shape) message(i int) (also int) {
	m := s.c.messages[i]
	switch {
	case m.role == user && i > 0 && s.c.messages[i-1].role == tool && s.form&alternating != 0:
		s.begin()
		s.w.text(`{"role":"assistant","content":` + quote(bridgeText) + `}`)
	case m.role == assistant && len(m.calls) > 1 && s.form&oneCall != 0:
		return s.calls(i)
	case m.role == assistant && !m.reasoning.none() && s.form&thoughtless != 0:
		s.begin()
		s.assistant(m, true, m.calls)
		return 0
	}
	s.begin()
	s.w.copy(m.span)
	return 0
}

// assistant writes a message of the model's with some of its calls.
func (s *shape) assistant(m message, says bool, calls []call) {
	s.w.text(`{"role":"assistant","content":`)
	if says && !m.content.none() {
		s.w.copy(m.content)
	} else {
		s.w.text(`""`)
	}
	if says && !m.reasoning.none() && s.form&thoughtless == 0 {
		s.w.text(`,"reasoning_content":`)
		s.w.copy(m.reasoning)
	}
	for i, call := range calls {
		if i == 0 {
			s.w.text(`,"tool_calls":[`)
		} else {
			s.w.text(`,`)
		}
		s.w.copy(call.span)
	}
	if len(calls) > 0 {
		s.w.text(`]`)
	}
	s.w.text(`}`)
}

// calls writes each call of a message in one of its own, followed by its answer.
func (s *shape) calls(i int) (also int) {
	m := s.c.messages[i]
	answers := make(map[string][]message)
	for _, answer := range s.c.messages[i+1:] {
		if answer.role != tool {
			break
		}
		answers[answer.answers] = append(answers[answer.answers], answer)
		also++
	}
	for j, call := range m.calls {
		s.begin()
		s.assistant(m, j == 0, m.calls[j:j+1])
		for _, answer := range answers[call.id] {
			s.begin()
			s.w.copy(answer.span)
		}
	}
	return also
}

// plain writes all messages in the plain form.
func (s *shape) plain() {
	p := plan{c: s.c}
	for i, m := range s.c.messages {
		if i >= s.left.start && i < s.left.end {
			continue
		}
		if m.role == assistant {
			p.assistant(i)
		} else { // the system's words, too, are the user's
			p.user(i)
		}
	}
	for _, t := range p.turns {
		s.begin()
		if t.role == user {
			s.w.text(`{"role":"user","content":`)
		} else {
			s.w.text(`{"role":"assistant","content":`)
		}
		s.said(t.of)
		s.w.text(`}`)
	}
}
