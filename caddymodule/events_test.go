package caddymodule

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// keeper is a handler of events that keeps what it is told.
type keeper struct{}

var kept struct {
	sync.Mutex
	events map[string]map[string]any
}

func init() { caddy.RegisterModule(keeper{}) }

func (keeper) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.keeper", New: func() caddy.Module { return new(keeper) }}
}

func (*keeper) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

func (*keeper) Handle(_ context.Context, e caddy.Event) error {
	kept.Lock()
	defer kept.Unlock()
	kept.events[e.Name()] = e.Data
	return nil
}

func TestEnginesTellOfTheirChanges(t *testing.T) {
	kept.Lock()
	kept.events = make(map[string]map[string]any)
	kept.Unlock()
	g := newGateway(t)
	g.options = "events {\non llm_engine_loaded keeper\non llm_engine_unloaded keeper\non llm_engine_failed keeper\n}"
	model := starterModel(t)
	g.start(fmt.Sprintf(`llm {
		provider near llamacpp %q {
			keep_alive 50ms
		}
		provider broken command false {socket}
		model m {
			to near
		}
		model dead {
			to broken
		}
	}`, model))
	if _, _, err := g.chat(t, "m", false); err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	defer asking.Wait()
	defer leave()
	asking.Go(func() { // it is tried again and again, which is not waited for
		_, _ = g.ask(ctx, g.client("HTTP/1.1"), chat("dead", "hello", false))
	})
	told := func(name string) (data map[string]any) {
		t.Helper()
		await(t, name, func() bool {
			kept.Lock()
			defer kept.Unlock()
			data = kept.events[name]
			return data != nil
		})
		return data
	}
	for _, name := range []string{"llm_engine_loaded", "llm_engine_unloaded"} {
		data := told(name)
		if seconds, _ := data["seconds"].(float64); data["engine"] != "starter" || data["path"] != model || seconds <= 0 || data["bytes"].(uint64) == 0 {
			t.Errorf("%s: got %v", name, data)
		}
	}
	if data := told("llm_engine_failed"); data["engine"] != "false" || data["reason"] == "" {
		t.Errorf("failed: got %v", data)
	}
}
