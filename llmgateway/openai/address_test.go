package openai

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestAProvidersOwnAddressIsNotTold(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":{"message":"no such field at http://`+r.Host+`/v1"}}`)
	}))
	defer server.Close()
	client, err := NewClient(server.URL, "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	req, err := Read(llmgateway.Chat, llmgateway.NewBody([]byte(`{"model":"m"}`)))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range client.Generate(t.Context(), req) {
		if got := llmgateway.AsError(err).Message; strings.Contains(got, "127.0.0.1") || !strings.Contains(got, "no such field") {
			t.Errorf("got message %q", got)
		}
	}
}

func TestReadWantsAModelInUTF8(t *testing.T) {
	_, err := Read(llmgateway.Chat, llmgateway.NewBody([]byte("{\"model\":\"\xff\"}")))
	if err == nil || llmgateway.AsError(err).Param != "model" {
		t.Errorf("got %v", err)
	}
}
