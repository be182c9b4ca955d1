package anthropic

import (
	"net/http"
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// Whether the gateway or a provider finds a request too large, a client is told so in Anthropic's words.
func TestTooLargeRequestsAreCalledSo(t *testing.T) {
	for _, kind := range []llmgateway.Kind{llmgateway.InvalidRequest, llmgateway.Unsupported} {
		body := string(ErrorBody(&llmgateway.Error{Kind: kind, Status: http.StatusRequestEntityTooLarge, Message: "too large"}))
		if !strings.Contains(body, `"type":"request_too_large"`) {
			t.Errorf("%s: got %s", kind, body)
		}
	}
	if body := string(ErrorBody(&llmgateway.Error{Kind: llmgateway.Unsupported, Message: "no images"})); !strings.Contains(body, `"type":"invalid_request_error"`) {
		t.Errorf("got %s", body)
	}
}
