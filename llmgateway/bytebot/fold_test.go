package bytebot

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Whatever the conversation is and however little the target takes, what is left of it is in order and has its last message.
func TestWhatIsLeftOfAnyConversationIsInOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		messages := someBlocks(random)
		s := &server{
			to: llmgateway.Destination{Limits: llmgateway.Limits{Context: 200 + random.IntN(3000)}},
			says: func(body map[string]any, raw string) (string, error) {
				got, _ := messagesOf(t, raw)
				if err := checkOpenAI(got); err != nil {
					t.Errorf("%v\nin %s\nmade of %s", err, raw, messages)
				}
				return fine(body, raw)
			},
		}
		a := newAdapter(t, Config{Options: Options{MaxRequestBytes: random.IntN(2) * 1500}})
		if _, err := s.ask(t, a, body(messages...)); err != nil && llmgateway.AsError(err).Kind != llmgateway.ContextLength {
			t.Errorf("%v\nof %s", err, messages)
		}
	}
}

// What was left out of a conversation stays left out while it grows, and it is the same whoever reads it first.
func TestWhatIsLeftOutOnlyGrows(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		room, size := 2000+random.IntN(20000), 100+random.IntN(2000)
		all := longTask(40)
		var before omission
		changes := 0
		for n := 6; n <= len(all); n += 4 { // behind each turn's screenshot
			c, ok := read(request(t, body(all[:n]...)))
			if !ok {
				t.Fatal(all[:n])
			}
			m := measure{room: room, rest: 500, few: 2, turns: true, messages: slices.Repeat([]int{40}, len(c.messages)), images: slices.Repeat([]int{size}, len(c.images))}
			f := fold{c: c, measures: []measure{m}, outdated: func(int) int { return 0 }}
			now := f.run()
			if now.images < before.images || now.turns.end < before.turns.end {
				t.Fatalf("room %d, images of %d: %+v was left out, and then %+v", room, size, before, now)
			}
			if before.turns.end > 0 && now != before {
				changes++
			}
			before = now
			left := total(m.messages) - total(m.messages[now.turns.start:now.turns.end])
			if used := m.rest + left + (len(c.images)-now.images)*size; used != f.measures[0].used || used > room && len(c.images)-now.images > 1 {
				t.Fatalf("room %d, images of %d: %d are used, and %d it says", room, size, used, f.measures[0].used)
			}
		}
		if fits := (room - 500) / (size + 160); fits > 8 && changes > 40/(fits/4) {
			t.Errorf("room %d, images of %d: it changed %d times", room, size, changes)
		}
	}
}
