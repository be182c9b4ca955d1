package bytebot

import (
	"encoding/json"
	"math"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/maypok86/otter/v2"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Memory is what adapters remember from one request to the next: how models wrote the calls of tools, images that were encoded
// anew, and what targets have taught. It may be shared by adapters, and used by many goroutines at once. Whoever made it must
// close it.
type Memory struct {
	calls  *otter.Cache[callKey, written]
	images *otter.Cache[imageKey, recoded]
	turns  atomic.Uint64

	mu      sync.Mutex // guards lessons
	lessons map[target]lesson
}

// callKey tells a call from all others. Ids are the models' own, and some count from 0 in each conversation.
type callKey struct{ tenant, id string }

// written is how a model wrote a call.
type written struct {
	arguments string // a JSON string, as it came
	turn      uint64 // the turn that it belongs to
}

type target struct{ provider, model string }

const (
	// callsBytes and imagesBytes bound what is remembered. A call takes some hundred bytes.
	callsBytes  = 16 << 20
	imagesBytes = 64 << 20
	// maxLessons bounds how many targets are remembered; models may be named by clients.
	maxLessons = 1024
	// entryBytes is about what an entry takes beside its own bytes.
	entryBytes = 200
)

// NewMemory returns an empty Memory.
func NewMemory() (*Memory, error) {
	calls, err := otter.New(&otter.Options[callKey, written]{
		MaximumWeight: callsBytes,
		Weigher: func(k callKey, w written) uint32 {
			return uint32(min(len(k.tenant)+len(k.id)+len(w.arguments)+entryBytes, math.MaxUint32))
		},
	})
	if err != nil {
		return nil, err
	}
	images, err := otter.New(&otter.Options[imageKey, recoded]{
		MaximumWeight: imagesBytes,
		Weigher: func(_ imageKey, r recoded) uint32 {
			return uint32(min(len(r.url)+entryBytes, math.MaxUint32))
		},
	})
	if err != nil {
		return nil, err
	}
	return &Memory{calls: calls, images: images, lessons: make(map[target]lesson)}, nil
}

// Close ends what the Memory does in the background. Requests may still use it.
func (m *Memory) Close() {
	m.calls.StopAllGoroutines()
	m.images.StopAllGoroutines()
}

// lesson returns what a target has taught.
func (m *Memory) lesson(t target) lesson {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lessons[t]
}

// learned keeps what a target has taught.
func (m *Memory) learned(t target, l lesson) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.lessons[t]; !known && len(m.lessons) >= maxLessons {
		clear(m.lessons) // they are learned again by one request each
	}
	m.lessons[t] = l
}

// remember keeps how the calls of a whole answer are written.
func (m *Memory) remember(tenant string, answer []byte) {
	turn := uint64(0)
	eachCall(answer, func(id string, arguments span) {
		if turn == 0 {
			turn = m.turns.Add(1)
		}
		m.calls.Set(callKey{tenant, id}, written{string(arguments.in(answer)), turn})
	})
}

// restore returns the edits that put back how the model wrote its calls, where the agent says the same in another way.
func (m *Memory) restore(tenant string, c *conversation) (e edits) {
	for _, message := range c.messages {
		for _, call := range message.calls {
			if call.arguments.none() {
				continue
			}
			w, ok := m.calls.GetIfPresent(callKey{tenant, call.id})
			if now := string(call.arguments.in(c.body)); ok && now != w.arguments && same(now, w.arguments) {
				e.replace(call.arguments.inside(), w.arguments[1:len(w.arguments)-1])
			}
		}
	}
	return e
}

// same reports whether two JSON strings hold JSON that means the same.
func same(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(text([]byte(a))), &x) == nil && json.Unmarshal([]byte(text([]byte(b))), &y) == nil && reflect.DeepEqual(x, y)
}

// turnOf returns what tells which turn a call belongs to, or 0 of one that is not remembered.
func (m *Memory) turnOf(tenant string) func(call string) uint64 {
	return func(call string) uint64 {
		w, _ := m.calls.GetIfPresent(callKey{tenant, call})
		return w.turn
	}
}

// targetOf returns the key of what a destination has taught.
func targetOf(to llmgateway.Destination) target { return target{to.Provider, to.Model} }
