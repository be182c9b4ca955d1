package llmgateway

import (
	"slices"
	"testing"
)

func TestCapabilitiesAreWordsAndBack(t *testing.T) {
	words := []string{"vision", "audio", "tools", "json", "embeddings", "reasoning"}
	all, err := ParseCapabilities(words)
	if err != nil || all != CanSee|CanHear|CanCallTools|CanFollowSchema|CanEmbed|CanReason {
		t.Errorf("got %b, %v", all, err)
	}
	if got := all.Words(); !slices.Equal(got, words) {
		t.Errorf("got %q, want %q", got, words)
	}
	if got, want := (CanSee | CanFollowSchema).String(), "take images or follow a JSON schema"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if set, err := ParseCapabilities([]string{"tools", "Vision"}); err == nil {
		t.Errorf("got %b for a word that is none", set)
	}
	if set, err := ParseCapabilities(nil); err != nil || set != 0 || set.Words() != nil || set.String() != "" {
		t.Errorf("got %b, %v for nothing", set, err)
	}
}

func TestLimitsTellWhatIsKnown(t *testing.T) {
	l := ModelInfo{Context: 4096, Vision: true, Audio: true, Embeddings: true}.Limits()
	if l.Context != 4096 || l.Can != CanSee|CanHear|CanEmbed || l.Cannot != CanCallTools {
		t.Errorf("got %+v", l)
	}
	for capability, want := range map[Capabilities]string{CanSee: "yes", CanCallTools: "no", CanFollowSchema: "unknown"} {
		got := "unknown"
		if can := l.Knows(capability); can != nil {
			got = map[bool]string{true: "yes", false: "no"}[*can]
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", capability, got, want)
		}
	}
}
