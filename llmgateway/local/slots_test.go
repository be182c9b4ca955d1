package local

import (
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
)

func readRequest(op llmgateway.Operation, body string) (*llmgateway.Request, error) {
	return openai.Read(op, llmgateway.NewBody([]byte(body)))
}

// visits is a table whose slots are visited one after the other.
type visits struct {
	t     *testing.T
	table table
	now   time.Time
}

func newVisits(t *testing.T, slots int) *visits {
	t.Helper()
	return &visits{t: t, table: make(table, slots), now: time.Now()}
}

// come lets a conversation have a slot until it is done with.
func (v *visits) come(words ...string) (j *job, done func()) {
	v.t.Helper()
	j, err := newJob(ask(v.t, llmgateway.Chat, `{"model":"m","messages":[%s]}`, messages(words...)), len(v.table), false)
	if err != nil {
		v.t.Fatal(err)
	}
	j.slots = v.table.take(j)
	return j, func() {
		v.now = v.now.Add(time.Second)
		v.table.giveBack(j, true, true, v.now)
	}
}

// visit lets a conversation have a slot, and checks which.
func (v *visits) visit(want int, words ...string) {
	v.t.Helper()
	j, done := v.come(words...)
	if got := j.slots[0]; got != want {
		v.t.Errorf("%v: got slot %d, want %d", words, got, want)
	}
	done()
}

func TestConversationsKeepTheirSlots(t *testing.T) {
	v := newVisits(t, 3)
	v.visit(0, "s", "u1")
	v.visit(1, "s", "u2")
	v.visit(2, "s", "u3")
	v.visit(1, "s", "u2", "a", "u")
	v.visit(0, "s", "u1", "a", "u")
	v.visit(2, "s", "u3", "a", "u")
	v.visit(2, "s", "u3", "a", "another")
	v.visit(1, "s", "u2", "a", "u", "a", "u")
	// A new one takes the place of the one that has been silent for longest.
	v.visit(0, "s", "u4")
	v.visit(2, "s", "u1", "a", "u", "a", "u")
	v.visit(0, "s", "u4", "a", "u")
}

func TestBusySlotsAreLeftAlone(t *testing.T) {
	v := newVisits(t, 2)
	first, done := v.come("s", "u1")
	second, _ := v.come("s", "u1")
	if first.slots[0] == second.slots[0] {
		t.Fatalf("both got slot %d", first.slots[0])
	}
	done()
	v.visit(0, "s", "u2")
}

func TestClientsMayChooseASlot(t *testing.T) {
	v := newVisits(t, 3)
	v.visit(0, "s", "u1")
	j, err := newJob(ask(t, llmgateway.Chat, `{"model":"m","id_slot":2,"messages":[%s]}`, messages("s", "u1")), 3, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := v.table.take(j); got[0] != 2 {
		t.Errorf("got slot %d, want 2", got[0])
	}
}

func TestSeveralAnswersTakeTheFirstFreeSlots(t *testing.T) {
	v := newVisits(t, 4)
	v.visit(0, "s", "u1")
	v.visit(1, "s", "u2")
	j, err := newJob(ask(t, llmgateway.Chat, `{"model":"m","n":3,"messages":[%s]}`, messages("s", "u3")), 4, false)
	if err != nil {
		t.Fatal(err)
	}
	got := v.table.take(j)
	j.slots = got
	if len(got) != 3 || got[0] != 2 || got[1] != 0 || got[2] != 1 {
		t.Errorf("got %v, want 2, 0, 1", got)
	}
	if n := v.table.free(); n != 1 {
		t.Errorf("got %d free, want 1", n)
	}
	v.table.giveBack(j, true, true, v.now.Add(time.Minute))
	v.visit(2, "s", "u3", "a", "u")
	v.visit(3, "s", "u4")
}

func TestPromptThatWasNotProcessedIsNotHeld(t *testing.T) {
	v := newVisits(t, 2)
	v.visit(0, "s", "u1")
	v.visit(1, "s", "u2")
	j, _ := v.come("s", "u1", "a", "u")
	j.shared = 3
	v.table.giveBack(j, true, false, v.now)
	if got := len(v.table[0].prompt.Links); got != 3 {
		t.Errorf("after the client left: got %d links, want 3", got)
	}
	v.table.forget()
	v.visit(0, "s", "u2", "a", "u")
}
