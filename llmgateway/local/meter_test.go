package local

import (
	"testing"
	"time"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// observe has a meter measure a request that ran alone, on a machine that needs 1 ms for a token, 100 ms for a prompt and
// 800 ms for an image of 500 tokens.
func observe(m *meter, whole, fresh size) {
	j := &job{chat: true, width: 1, alone: true, size: whole, fresh: fresh, period: &period{prompts: 1}}
	j.prompt.Links = []link{{Size: whole}}
	tokens := func(s size) int { return s.Text/4 + 500*s.Images }
	j.timing = timings{
		prompt: tokens(fresh), cached: tokens(whole) - tokens(fresh),
		promptTime: 0.1 + float64(fresh.Text/4)/1000 + 0.8*float64(fresh.Images),
	}
	m.learnPrompt(j, j.timing)
}

func TestMeterLearnsWhatImagesCost(t *testing.T) {
	t.Run("with and without", func(t *testing.T) {
		var m meter
		for _, s := range []size{{400, 0}, {8000, 0}, {2000, 2}, {4000, 0}, {800, 1}, {4000, 3}} {
			observe(&m, s, s)
		}
		s := size{4000, 2}
		if got := m.promptTokens(s); !near(got, 2000, 0.05) {
			t.Errorf("got %.0f tokens, want about 2000", got)
		}
		if got, known := m.promptTime(s, s); !known || !near(got, 2.7, 0.05) {
			t.Errorf("got %.2f s, %t, want about 2.7", got, known)
		}
		if got, _ := m.promptTime(s, size{400, 0}); !near(got, 0.2, 0.1) {
			t.Errorf("if most is cached: got %.2f s, want about 0.2", got)
		}
	})
	t.Run("one in each turn", func(t *testing.T) {
		var m meter
		whole := size{6000, 0}
		for range 8 {
			whole.Text += 400
			whole.Images++
			observe(&m, whole, size{400, 1})
		}
		whole.Text += 400
		whole.Images++
		if got, known := m.promptTime(whole, size{400, 1}); !known || !near(got, 1, 0.15) {
			t.Errorf("got %.2f s, %t, want about 1", got, known)
		}
	})
}

func TestTimingsAreReadFromWhateverTellsThem(t *testing.T) {
	tests := []struct {
		name  string
		event llmgateway.Event
		want  timings
	}{
		{"a chunk", llmgateway.Event{Data: []byte(`{"timings":{"prompt_n":5}}`), Carries: true}, timings{}},
		{"the last chunk", llmgateway.Event{
			Data:         []byte(`{"timings":{"cache_n":7,"prompt_n":5,"prompt_ms":250,"predicted_n":9,"predicted_ms":1500.5}}`),
			FinishReason: "stop",
		}, timings{5, 7, 9, 0.25, 1.5005, "stop"}},
		{"usage alone", llmgateway.Event{
			Data: []byte(`{}`), Usage: &llmgateway.Usage{PromptTokens: 12, CachedTokens: 7, CompletionTokens: 9},
		}, timings{prompt: 5, cached: 7, generated: 9}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got timings
			got.read(test.event)
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// TestOverlappingPromptsAreMeasuredTogether sends two prompts of 1000 tokens at once: the one is done after a second, the
// other after two.
func TestOverlappingPromptsAreMeasuredTogether(t *testing.T) {
	var m meter
	now := time.Now()
	m.now = now
	var jobs []*job
	for i := range 2 {
		j := &job{chat: true, stream: true, width: 1, slots: []int{i}, size: size{4000, 0}, fresh: size{4000, 0}}
		j.prompt.Links = []link{{Size: j.size}}
		jobs = append(jobs, j)
		m.begin(j, jobs, now)
	}
	for i, j := range jobs {
		now = now.Add(time.Second)
		m.advance(jobs, now)
		m.firstToken(j, now)
		if want := []float64{1, 2}[i]; !near(m.clock.stalled, want, 0.001) {
			t.Errorf("answers stood still for %v s, want %v", m.clock.stalled, want)
		}
	}
	if m.prompt.known() {
		t.Error("something is known before the prompts' lengths are")
	}
	for _, j := range jobs {
		j.timing = timings{prompt: 1000, generated: 11, generateTime: 2, finish: "length"}
		m.end(j, true, now)
	}
	if got := m.prompt.at(newWork(1000, 0)); !near(got, 1, 0.01) {
		t.Errorf("a prompt of 1000 tokens: got %v s, want 1", got)
	}
}
