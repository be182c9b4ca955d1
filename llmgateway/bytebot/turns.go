package bytebot

import (
	"bytes"
	"cmp"
	"strconv"
)

// turn is a message as it is to be sent.
type turn struct {
	role role
	// of are the agent's messages that it is made of. Without any, the message is the gateway's own.
	of []int
	// answers is the id of the call that a tool's message of the gateway's own answers, quoted.
	answers string
	// text is what the gateway's own message says, or adds to what the agent's say.
	text string
	// closed is true of an assistant's turn that was answered, so that what follows is another one.
	closed bool
	// known tells which of the model's turns it is, if one of its calls is remembered, or is 0.
	known uint64
}

// What the gateway says where the agent left something out.
const (
	unansweredText = "There is no result: the call was not carried out, or its result cannot be shown. Do not rely on it."
	openingText    = "What was said before is not shown here."
	goOnText       = "Go on."
	goOnStatusText = "Go on with the task by calling a tool. If the task is done, or you cannot go on without help, call set_task_status."
	strayText      = "Result of an earlier call: "
)

// plan is how a conversation is brought into order.
//
// The agent sends one message for each block, so one turn of the model may be many messages, answers of tools may stand far
// from their calls or be missing, and the list may end with the model's own words. In the plan there is one message for each
// turn: users' and assistant's alternate, but for calls of tools, each of which is followed by its answers and by nothing else;
// the first word is a user's, and the last a user's or a tool's.
type plan struct {
	c     *conversation
	turns []turn
	edits edits
	// answer is, by message and call, the message with its answer, or -1.
	answer [][]int
	// asker is, by message, the message with the call that it answers, or -1.
	asker []int
	// turnOf tells which turn a call belongs to, or returns 0. It may be nil.
	turnOf func(call string) uint64
}

// arrange makes a plan. There are no edits, and the turns are the messages one by one, if nothing is to be done.
func (c *conversation) arrange(turnOf func(call string) uint64) *plan {
	p := &plan{c: c, turnOf: turnOf, turns: make([]turn, 0, len(c.messages)+1)}
	p.match()
	for i, m := range c.messages {
		switch {
		case m.role == assistant:
			p.assistant(i)
		case m.role == user, m.role == tool && p.asker[i] < 0:
			p.user(i)
		case m.role == tool:
			p.close(p.asker[i])
		default:
			p.turns = append(p.turns, turn{role: m.role, of: []int{i}})
		}
	}
	p.open()
	p.answerCalls()
	if last := p.turns[len(p.turns)-1]; last.role == assistant {
		p.turns = append(p.turns, turn{role: user, text: p.c.goOn()})
	}
	p.fill()
	return p
}

// goOn returns what is said to a model whose own words came last.
func (c *conversation) goOn() string {
	if c.status {
		return goOnStatusText
	}
	return goOnText
}

// match finds out which message answers which call: of several calls with the same id, the last one before it that has no
// answer yet.
func (p *plan) match() {
	p.answer, p.asker = make([][]int, len(p.c.messages)), make([]int, len(p.c.messages))
	type place struct{ message, call int }
	unanswered := make(map[string][]place)
	for i, m := range p.c.messages {
		p.asker[i] = -1
		for j, call := range m.calls {
			p.answer[i] = append(p.answer[i], -1)
			if m.role == assistant {
				unanswered[call.id] = append(unanswered[call.id], place{i, j})
			}
		}
		if waiting := unanswered[m.answers]; m.role == tool && len(waiting) > 0 {
			last := waiting[len(waiting)-1]
			unanswered[m.answers] = waiting[:len(waiting)-1]
			p.answer[last.message][last.call], p.asker[i] = i, last.message
		}
	}
}

// last returns the last turn if it has the role.
func (p *plan) last(r role) *turn {
	if n := len(p.turns); n > 0 && p.turns[n-1].role == r {
		return &p.turns[n-1]
	}
	return nil
}

func (p *plan) user(i int) {
	if t := p.last(user); t != nil {
		t.of = append(t.of, i)
		return
	}
	p.turns = append(p.turns, turn{role: user, of: []int{i}})
}

func (p *plan) assistant(i int) {
	known := p.known(i)
	if t := p.last(assistant); t != nil && !t.closed && (known == 0 || t.known == 0 || known == t.known) {
		t.of, t.known = append(t.of, i), cmp.Or(t.known, known)
		return
	}
	p.turns = append(p.turns, turn{role: assistant, of: []int{i}, known: known})
}

// known tells which of the model's turns a message belongs to, or returns 0.
func (p *plan) known(i int) uint64 {
	if p.turnOf == nil {
		return 0
	}
	for _, call := range p.c.messages[i].calls {
		if turn := p.turnOf(call.id); turn != 0 {
			return turn
		}
	}
	return 0
}

// close notes that a call of a message has been answered.
func (p *plan) close(asker int) {
	if t := p.last(assistant); t != nil && asker >= t.of[0] {
		t.closed = true
	}
}

// open makes a user's turn the first one behind the system's.
func (p *plan) open() {
	first := 0
	for first < len(p.turns) && p.turns[first].role == system {
		first++
	}
	switch {
	case first == len(p.turns):
		p.turns = append(p.turns, turn{role: user, text: p.c.goOn()})
	case p.turns[first].role == assistant:
		p.turns = append(p.turns[:first], append([]turn{{role: user, text: openingText}}, p.turns[first:]...)...)
	}
}

// nudge makes the last message say something more to the model, unless it says so already.
func (p *plan) nudge(words string) {
	last := &p.turns[len(p.turns)-1]
	n := len(last.of)
	switch {
	case words == "", n > 0 && bytes.Contains(p.c.messages[last.of[n-1]].in(p.c.body), []byte(quote(words))):
	case last.role == user:
		last.text = words
	default:
		p.turns = append(p.turns, turn{role: user, text: words})
	}
}

// answerCalls puts the answers behind their calls. A call without one gets the gateway's own, which says so. In one turn, no two
// calls may have the same id.
func (p *plan) answerCalls() {
	arranged := make([]turn, 0, len(p.c.messages)+1)
	for _, t := range p.turns {
		arranged = append(arranged, t)
		if t.role != assistant {
			continue
		}
		used := make(map[string]int) // how often a call wanted an id that is given
		for _, i := range t.of {
			for j, call := range p.c.messages[i].calls {
				id, answer := call.id, p.answer[i][j]
				for used[id] > 0 {
					used[call.id]++
					id = call.id + "_" + strconv.Itoa(used[call.id])
				}
				used[id] = 1
				if id != call.id {
					p.edits.replace(call.idAt, quote(id))
					if answer >= 0 {
						p.edits.replace(p.c.messages[answer].answersAt, quote(id))
					}
				}
				switch {
				case answer >= 0:
					arranged = append(arranged, turn{role: tool, of: []int{answer}})
				default:
					arranged = append(arranged, turn{role: tool, answers: quote(id), text: unansweredText})
				}
			}
		}
	}
	p.turns = arranged
}

// fill gives content to messages that are sent as they are and have none.
func (p *plan) fill() {
	for _, t := range p.turns {
		if len(t.of) != 1 || t.role == system || t.role == other {
			continue
		}
		m := p.c.messages[t.of[0]]
		switch {
		case m.role != t.role: // it is written anew
		case m.content.none():
			p.edits.replace(span{m.start + 1, m.start + 1}, `"content":"",`)
		case p.c.body[m.content.start] == 'n' && len(m.calls) == 0:
			p.edits.replace(m.content, `""`)
		}
	}
}

// asIs reports whether the plan changes nothing.
func (p *plan) asIs() bool {
	if len(p.edits) > 0 || len(p.turns) != len(p.c.messages) {
		return false
	}
	for i, t := range p.turns {
		if len(t.of) != 1 || t.of[0] != i || t.text != "" || t.role != p.c.messages[i].role {
			return false
		}
	}
	return true
}
