package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestChatCommandAnswersAQuestion(t *testing.T) {
	var keys []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Authorization"))
		switch r.URL.Path {
		case "/v1/models":
			_, _ = w.Write([]byte(`{"data":[{"id":"other"},{"id":"auto"}]}`))
		case "/v1/chat/completions":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = w.Write([]byte("data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\",\"content\":\"Paris\"}}]}\n\n" +
				"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"))
		}
	}))
	t.Cleanup(s.Close)
	t.Setenv("LLM_API_KEY", "sk-1")
	out, err := command(t, "chat", "--url", s.URL+"/v1", "What", "is it?")
	if err != nil || out != "Paris\n" {
		t.Errorf("got %q, %v", out, err)
	}
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("sk-2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err = command(t, "chat", "--url", s.URL+"/v1", "--model", "m", "--key", "{file."+file+"}", "?"); err != nil || out != "Paris\n" {
		t.Errorf("got %q, %v", out, err)
	}
	if got := strings.Join(keys, " "); got != "Bearer sk-1 Bearer sk-1 Bearer sk-2" {
		t.Errorf("got %s", got)
	}
	if _, err = command(t, "chat", "--url", s.URL+"/v1", "--image", "command.go", "?"); err == nil || !strings.Contains(err.Error(), "no image") {
		t.Errorf("got %v", err)
	}
	if _, err = command(t, "chat", "--url", "http://"+nowhere+"/v1", "?"); err == nil || !strings.Contains(err.Error(), "make run") {
		t.Errorf("got %v", err)
	}
}
