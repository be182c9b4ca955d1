package llmgateway

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

// This package is what xcaddy compiles in. It does not bring caddy-ratelimit along, which a config.yaml may need.
func TestMissingRateLimitIsNamed(t *testing.T) {
	const file = "providers:\n  - {name: a, type: llama.cpp, model_path: x.gguf}\nrate_limit:\n  enabled: "
	adapter := caddyconfig.GetAdapter("llmgateway")
	_, _, err := adapter.Adapt([]byte(file+"true\n"), nil)
	if err == nil || !strings.HasPrefix(err.Error(), "config.yaml:4:3: rate_limit: ") || !strings.Contains(err.Error(), "caddy-ratelimit") {
		t.Errorf("got %v", err)
	}
	if _, _, err := adapter.Adapt([]byte(file+"false\n"), nil); err != nil {
		t.Errorf("switched off: got %v", err)
	}
}
