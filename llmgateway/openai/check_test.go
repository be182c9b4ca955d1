package openai

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestCheckTellsWhetherAServerCouldGenerate(t *testing.T) {
	for status, want := range map[int]string{
		200: "", 204: "", 301: "", 403: "", 404: "", 405: "", 429: "", 501: "",
		401: "the provider refuses the gateway's credentials or credit (HTTP 401)",
		402: "the provider refuses the gateway's credentials or credit (HTTP 402)",
		500: "HTTP 500", 502: "HTTP 502", 503: "HTTP 503",
	} {
		var asked string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization")
			w.WriteHeader(status)
		}))
		c, err := NewClient(s.URL+"/v1", "sk-key", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := c.Check(t.Context()); err != nil {
			got = err.Message
		}
		s.Close()
		if got != want || asked != "GET /v1/models Bearer sk-key" {
			t.Errorf("%d: got %q to %q, want %q", status, got, asked, want)
		}
	}
}

func TestCheckOfWhatDoesNotAnswerFails(t *testing.T) {
	gone := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-gone:
		}
	}))
	c, err := NewClient(s.URL, "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Check(ctx); err == nil || err.Message != "timed out" {
		t.Errorf("silent: got %v", err)
	}
	close(gone)
	s.Close()
	if err := c.Check(t.Context()); err == nil || strings.Contains(err.Message, "127.0.0.1") {
		t.Errorf("dead: got %v", err)
	}
}
