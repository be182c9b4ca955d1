package local

import (
	"slices"
	"time"
)

// table is llama-server's slots as far as they can be seen from here: who is in them, and which prompt they hold.
//
// Left alone, llama-server takes the slot that has most in common with a prompt, and when all of an agent's
// conversations begin with the same long instructions, that is often another conversation's: they evict one another. So
// a request is sent to the slot of the conversation that it continues, and a new conversation to a slot that is empty or
// was not used for the longest time.
type table []slot

type slot struct {
	taken  bool
	prompt chain // that it processed last
	used   time.Time
}

// free returns how many slots are free.
func (t table) free() (n int) {
	for i := range t {
		if !t[i].taken {
			n++
		}
	}
	return n
}

// take takes the slots for j; there must be enough. The first of them is the one to name to llama-server.
func (t table) take(j *job) []int {
	best := t.choose(j)
	slots := append(make([]int, 0, j.width), best)
	// For the further answers llama-server takes the first free slots, and empties them afterwards.
	for i := range t {
		if len(slots) < j.width && !t[i].taken && i != best {
			slots = append(slots, i)
		}
	}
	for _, i := range slots {
		t[i].taken = true
	}
	return slots
}

// choose returns the best free slot for the prompt of j.
func (t table) choose(j *job) int {
	if j.wish >= 0 && !t[j.wish%len(t)].taken {
		return j.wish % len(t)
	}
	home, most := -1, 0
	idle := -1
	for i := range t {
		s := &t[i]
		if s.taken {
			continue
		}
		if idle < 0 || s.older(&t[idle]) {
			idle = i
		}
		n := j.prompt.shared(&s.prompt)
		if !j.prompt.continues(&s.prompt, n) {
			continue
		}
		if n > most || n == most && s.used.After(t[home].used) {
			home, most = i, n
		}
	}
	if home >= 0 {
		return home
	}
	return idle
}

// older reports whether it is better to lose what s holds than what o holds.
func (s *slot) older(o *slot) bool {
	if empty, other := len(s.prompt.Links) == 0, len(o.prompt.Links) == 0; empty != other {
		return empty
	}
	return s.used.Before(o.used)
}

// giveBack frees the slots of j. If its prompt was processed, the first of them holds it now.
func (t table) giveBack(j *job, sent, processed bool, now time.Time) {
	for n, i := range j.slots {
		s := &t[i]
		s.taken = false
		switch {
		case !sent:
			continue
		case n > 0 || !j.chat: // empty, or nobody knows
			s.prompt = chain{}
		case processed:
			s.prompt = j.prompt
		default:
			s.prompt = j.prompt.cut(j.shared)
		}
		s.used = now
	}
}

// forget empties all slots.
func (t table) forget() {
	for i := range t {
		t[i].prompt = chain{}
	}
}

// clone returns a copy that can be changed.
func (t table) clone() table { return slices.Clone(t) }
