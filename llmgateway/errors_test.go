package llmgateway

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestAsErrorClassesWhatIsNoErrorYet(t *testing.T) {
	own := &Error{Kind: RateLimited, Message: "slow down"}
	tests := []struct {
		name string
		err  error
		want Kind
	}{
		{"one already", own, RateLimited},
		{"one inside another", fmt.Errorf("asking: %w", own), RateLimited},
		{"client left", fmt.Errorf("reading: %w", context.Canceled), Canceled},
		{"deadline", fmt.Errorf("reading: %w", context.DeadlineExceeded), Timeout},
		{"anything else", errors.New("boom"), Upstream},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := AsError(test.err)
			if got.Kind != test.want {
				t.Errorf("got %s, want %s", got.Kind, test.want)
			}
			if got.Message == "" {
				t.Error("it has no message for the client")
			}
			if !errors.Is(got, test.err) && !errors.Is(test.err, got) {
				t.Error("the cause is lost")
			}
		})
	}
}

func TestErrorSaysMessageAndCause(t *testing.T) {
	cause := errors.New("dial tcp: refused")
	for want, err := range map[string]*Error{
		"connection refused: dial tcp: refused": {Message: "connection refused", Err: cause},
		"dial tcp: refused":                     {Err: cause},
		"connection refused":                    {Message: "connection refused"},
	} {
		if got := err.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
