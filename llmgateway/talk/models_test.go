package talk

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestDefaultModelIsAutoOrTheFirst(t *testing.T) {
	tests := []struct {
		name, body, want, fails string
		status                  int
	}{
		{"auto", `{"data":[{"id":"a"},{"id":"auto"},{"id":"b"}]}`, "auto", "", 200},
		{"first", `{"data":[{"id":"a"},{"id":"b"}]}`, "a", "", 200},
		{"none", `{"data":[]}`, "", "no model", 200},
		{"refused", `{"error":{"message":"no"}}`, "", "refuses the key", 401},
		{"error", `{"error":{"message":"the disk is full"}}`, "", "the disk is full", 500},
		{"no gateway", `<html>`, "", "end in /v1", 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v1/models" || r.Header.Get("Authorization") != "Bearer key" {
					t.Errorf("got %s %v", r.URL, r.Header)
				}
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			}))
			defer s.Close()
			got, err := DefaultModel(t.Context(), http.DefaultTransport, s.URL+"/v1/", "key")
			if got != tt.want || (err != nil) != (tt.fails != "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
