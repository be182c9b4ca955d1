package caddymodule

import (
	"strings"
	"testing"
)

func TestTargetsTellThatTheyAreDownAndUpAgain(t *testing.T) {
	kept.Lock()
	kept.events = make(map[string]map[string]any)
	kept.Unlock()
	a := newFragile(t)
	g := newGateway(t)
	g.options = "events {\non llm_target_down keeper\non llm_target_up keeper\n}"
	g.start(pair(t, a, "fail_duration 50ms"))
	told := func(name string) map[string]any {
		t.Helper()
		var data map[string]any
		await(t, name, func() bool {
			kept.Lock()
			defer kept.Unlock()
			data = kept.events[name]
			return data != nil
		})
		return data
	}
	metric := func(provider, value string) bool {
		return strings.Contains(g.look("/metrics"), `caddy_llm_target_up{model="m",provider="`+provider+`"} `+value+"\n")
	}
	g.by(t)
	if !metric("a", "1") || !metric("b", "1") {
		t.Error("the metrics do not say that both are up")
	}
	a.broken.Store(true)
	g.by(t)
	down := told("llm_target_down")
	if down["provider"] != "a" || down["model"] != "m" || down["reason"] != "HTTP 500" || down["until"] == nil {
		t.Errorf("down: got %v", down)
	}
	if !metric("a", "0") || !metric("b", "1") {
		t.Error("the metrics do not say that a is down")
	}
	a.broken.Store(false)
	await(t, "a's answer", func() bool { return g.by(t) == "a" })
	if up := told("llm_target_up"); up["provider"] != "a" || up["model"] != "m" || up["reason"] != nil {
		t.Errorf("up: got %v", up)
	}
	if !metric("a", "1") {
		t.Error("the metrics do not say that a is up again")
	}
}
