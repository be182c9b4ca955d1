package openai

import (
	"strings"
	"testing"
)

// TestEventReaderIsAsGoodAfterAnother reads with buffers that other readers have given back.
func TestEventReaderIsAsGoodAfterAnother(t *testing.T) {
	for round := range 100 {
		events := newEventReader(strings.NewReader("data: {}\n\n"))
		data, err := events.next()
		events.free()
		if err != nil {
			t.Fatalf("reader %d: %v", round, err)
		}
		if got, want := len(data), 2; got != want {
			t.Fatalf("reader %d: got %d bytes, want %d", round, got, want)
		}
	}
}
