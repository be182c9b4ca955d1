package llmgateway

import (
	"math"
	"testing"
)

func TestPriceOfAGeneration(t *testing.T) {
	told, nothing, wrong := 0.5, 0.0, -1.0
	price := Price{Prompt: 2, Completion: 8, Cached: 0.5}
	for _, test := range []struct {
		name  string
		usage *Usage
		want  float64
	}{
		{"nothing known", nil, 0},
		{"prompt and answer", &Usage{PromptTokens: 1e6, CompletionTokens: 5e5}, 6},
		{"a part was cached", &Usage{PromptTokens: 1e6, CachedTokens: 4e5}, 1.4},
		{"more cached than there was", &Usage{PromptTokens: 1e6, CachedTokens: 2e6}, 0.5},
		{"fewer than none cached", &Usage{PromptTokens: 1e6, CachedTokens: -5}, 2},
		{"the provider says it", &Usage{PromptTokens: 1e6, Cost: &told}, 0.5},
		{"the provider says that it was free", &Usage{PromptTokens: 1e6, Cost: &nothing}, 0},
		{"the provider says nonsense", &Usage{PromptTokens: 1e6, Cost: &wrong}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := price.Cost(test.usage); math.Abs(got-test.want) > 1e-12 {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
