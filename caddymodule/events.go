package caddymodule

import (
	"path/filepath"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
)

// emit tells the subscribers of the configuration in force of an event, as Caddy's global option events has them. Whoever
// calls it need not wait: a subscriber may run a program.
func emit(name string, data map[string]any) {
	if a := running.current(); a != nil && a.emit != nil {
		go a.emit(name, data)
	}
}

// tellOf returns what makes events of an engine's changes: llm_engine_loaded, llm_engine_unloaded and llm_engine_failed.
func tellOf(key local.Key) func(local.Notice) {
	return func(n local.Notice) {
		data := map[string]any{
			"engine": key.Name(), "path": key.ModelPath, "seconds": n.Took.Seconds(), "bytes": n.Bytes,
		}
		if key.ModelPath == "" {
			data["path"] = filepath.Base(key.Command.Program)
		}
		if n.Reason != "" {
			data["reason"] = n.Reason
		}
		emit("llm_engine_"+string(n.Change), data)
	}
}
