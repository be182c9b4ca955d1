package openai

import (
	"io"
	"testing"
	"testing/synctest"
	"time"
)

func TestAFailedAnswerThatNeverEndsIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, server := io.Pipe()
		go func() { _, _ = io.WriteString(server, `{"error":{"message":"too`) }()
		began := time.Now()
		if got, want := string(readFailure(body)), `{"error":{"message":"too`; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := time.Since(began); got != failureTime {
			t.Errorf("waited %v, want %v", got, failureTime)
		}
	})
}
