package route

import (
	"context"
	"iter"
	"slices"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

type attemptKey struct{}

// marked notes which attempt's context it is asked with.
type marked struct {
	*script
	asked *[]string
}

func (m marked) Generate(ctx context.Context, req *llmgateway.Request) iter.Seq2[llmgateway.Event, error] {
	name, _ := ctx.Value(attemptKey{}).(string)
	*m.asked = append(*m.asked, name)
	return m.script.Generate(ctx, req)
}

func TestEveryAttemptIsMadeWithTheContextThatItsHookReturns(t *testing.T) {
	for _, hedge := range []*Hedge{nil, {After: 1 << 40, Share: 1}} {
		var asked []string
		router := &Router{
			Targets: []*Target{named("a", marked{does(errBoom), &asked}), named("b", marked{does("hello"), &asked})},
			Retries: -1, Hedge: hedge,
		}
		ctx := llmgateway.WithTrace(t.Context(), &llmgateway.Trace{
			Attempting: func(ctx context.Context, a llmgateway.Attempt) context.Context {
				return context.WithValue(ctx, attemptKey{}, a.Provider)
			},
		})
		for _, err := range router.Generate(ctx, chat("m")) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if want := []string{"a", "b"}; !slices.Equal(asked, want) {
			t.Errorf("hedge %v: got %q, want %q", hedge != nil, asked, want)
		}
	}
}
