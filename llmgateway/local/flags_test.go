package local

import (
	"strings"
	"testing"
)

func TestArgsCannotOpenTheServerToOthers(t *testing.T) {
	for _, args := range [][]string{{"--host", "0.0.0.0"}, {"--port=8080"}, {"--verbose", "--alias", "x"}, {"-m", "other.gguf"}} {
		err := Config{ModelPath: "m.gguf", Args: JoinArgs(args)}.Validate()
		if err == nil || !strings.Contains(err.Error(), "is for the gateway to set") {
			t.Errorf("%v: got %v", args, err)
		}
	}
	if err := (Config{ModelPath: "m.gguf", Args: JoinArgs([]string{"--flash-attn", "on"})}).Validate(); err != nil {
		t.Error(err)
	}
}
