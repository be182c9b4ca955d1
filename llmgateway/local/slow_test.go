package local

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// slowServer is a fake that takes its time as llama-server does: one loop computes all slots. Each round takes a token of
// every answer and what fits of the prompts, those of the first slots first. Four bytes are a token.
type slowServer struct {
	prompt, round, more time.Duration // for a token of a prompt; for a round with an answer; for each further answer in it

	mu      sync.Mutex // guards what follows
	changed *sync.Cond
	slots   []slowSlot
}

type slowSlot struct {
	busy    bool
	holds   string // the text that is cached
	used    time.Time
	text    string // the prompt
	left    int    // tokens of the prompt that are to be processed
	answers int    // tokens to come
	first   time.Time
	last    time.Time
	token   chan struct{}
}

// slowBatch is how much of the prompts fits into a round.
const slowBatch = 64

// newSlowServer returns a server for a pace such as 1000/50, or nil for none.
func newSlowServer(pace string) *slowServer {
	var prompt, answer, slots int
	if n, _ := fmt.Sscanf(pace, "%d/%d", &prompt, &answer); n != 2 {
		return nil
	}
	for i, arg := range os.Args[:len(os.Args)-1] {
		if arg == "--parallel" {
			slots, _ = strconv.Atoi(os.Args[i+1])
		}
	}
	s := &slowServer{prompt: time.Second / time.Duration(prompt), round: time.Second / time.Duration(answer), slots: make([]slowSlot, slots)}
	s.more = s.round / 3
	s.changed = sync.NewCond(&s.mu)
	go s.loop()
	return s
}

func (s *slowServer) loop() {
	for until := time.Now(); ; {
		s.mu.Lock()
		for !s.busy() {
			s.changed.Wait()
			until = time.Now()
		}
		var cost time.Duration
		var tokens []int // slots that get one
		room := slowBatch
		for i := range s.slots {
			slot := &s.slots[i]
			switch {
			case !slot.busy:
			case slot.left == 0:
				cost += s.more
				tokens = append(tokens, i)
			case room > 0:
				n := min(room, slot.left)
				room -= n
				slot.left -= n
				cost += time.Duration(n) * s.prompt
				if slot.left == 0 {
					slot.holds = slot.text
					tokens = append(tokens, i)
				}
			}
		}
		if cost < s.round && len(tokens) > 0 && room == slowBatch {
			cost += s.round - s.more
		}
		s.mu.Unlock()
		until = until.Add(cost)
		time.Sleep(time.Until(until))
		s.mu.Lock()
		for _, i := range tokens {
			slot := &s.slots[i]
			if slot.busy {
				slot.holds += "word"
				slot.answers--
				if slot.last = time.Now(); slot.first.IsZero() {
					slot.first = slot.last
				}
				slot.token <- struct{}{}
				if slot.answers == 0 {
					slot.busy, slot.used = false, time.Now()
					close(slot.token)
				}
			}
		}
		s.changed.Broadcast()
		s.mu.Unlock()
	}
}

func (s *slowServer) busy() bool {
	for i := range s.slots {
		if s.slots[i].busy {
			return true
		}
	}
	return false
}

// answer serves a chat request, streamed or not.
func (s *slowServer) answer(w http.ResponseWriter, body []byte) {
	request := struct {
		Messages  []struct{ Role, Content string }
		MaxTokens int  `json:"max_tokens"`
		Slot      *int `json:"id_slot"`
		Stream    bool
	}{MaxTokens: 10}
	if json.Unmarshal(body, &request) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var text strings.Builder
	for _, m := range request.Messages {
		if m.Role == "assistant" {
			text.WriteString(m.Content)
			continue
		}
		text.WriteString("<" + m.Role + ">" + m.Content + "<assistant>")
	}
	began := time.Now()
	slot, cached := s.enter(text.String(), request.Slot, request.MaxTokens)
	prompt := text.Len() / 4
	write := func(delta, finish, more string) {
		fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":%s,\"finish_reason\":%s}]%s}\n\n", delta, finish, more)
		_ = http.NewResponseController(w).Flush()
	}
	if request.Stream {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	n := 0
	for range slot.token {
		n++
		if request.Stream {
			write(`{"content":"word"}`, "null", "")
		}
	}
	s.mu.Lock()
	first, last := slot.first, slot.last
	s.mu.Unlock()
	timings := fmt.Sprintf(`,"timings":{"cache_n":%d,"prompt_n":%d,"prompt_ms":%d,"predicted_n":%d,"predicted_ms":%d}`,
		cached, prompt-cached, first.Sub(began).Milliseconds(), n, last.Sub(first).Milliseconds())
	if request.Stream {
		write(`{}`, `"length"`, timings)
		fmt.Fprint(w, "data: [DONE]\n\n")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"length"}]%s}`,
		strings.Repeat("word", n), timings)
}

// enter waits for a slot: the one that is asked for, or the one that holds most of the text.
func (s *slowServer) enter(text string, id *int, answers int) (slot *slowSlot, cached int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		var best *slowSlot
		for i := range s.slots {
			slot := &s.slots[i]
			if slot.busy || id != nil && *id != i {
				continue
			}
			if best == nil || common(slot.holds, text) > common(best.holds, text) {
				best = slot
			}
		}
		if best != nil {
			cached = min(common(best.holds, text), len(text)-4) / 4
			best.busy, best.text, best.left, best.answers = true, text, max(1, len(text)/4-cached), answers
			best.first = time.Time{}
			best.token = make(chan struct{}, answers)
			s.changed.Broadcast()
			return best, cached
		}
		s.changed.Wait()
	}
}

func common(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}
