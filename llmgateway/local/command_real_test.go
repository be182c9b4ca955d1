package local

import (
	"strings"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// TestRealServerRunsAsACommand runs llama-server as if it were any other program.
func TestRealServerRunsAsACommand(t *testing.T) {
	for _, listen := range [][]string{{"--host", "{socket}"}, {"--host", "127.0.0.1", "--port", "{port}"}} {
		e := realEngine(t, nil, Config{
			Binary: "unused", NParallel: 2,
			Command: Command{Program: realServer(t), Model: "own", Args: JoinArgs(append(listen, "-m", starterModel(t), "--alias", "{model}", "-c", "1024"))},
		})
		for _, stream := range []bool{true, false} {
			said, err := generate(t.Context(), &Provider{Engine: e}, ask(t, llmgateway.Chat, chatBody, stream, "hello"))
			if err != nil || !strings.Contains(said, `"model":"own"`) {
				t.Errorf("%v: got %s, %v", listen, said, err)
			}
		}
	}
}
