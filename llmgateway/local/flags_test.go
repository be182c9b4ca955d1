package local

import (
	"strings"
	"testing"
)

func TestArgsMayNotReplaceWhatTheGatewaySets(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--host", "0.0.0.0"}, "args: --host is for the gateway to set: without its own socket"},
		{[]string{"--port=8080"}, "args: --port is for the gateway to set"},
		{[]string{"--api_key", "x"}, "args: --api-key is for the gateway to set"},
		{[]string{"--verbose", "--alias", "x"}, "args: --alias is for the gateway to set: the model is"},
		{[]string{"-m", "other.gguf"}, "args: -m is for the gateway to set: the model is"},
		{[]string{"-dr", "gemma3"}, "args: -dr is for the gateway to set: the model is"},
		{[]string{"--docker-repo=gemma3"}, "args: --docker-repo is for the gateway to set: the model is"},
		{[]string{"-np", "4"}, "use n_parallel"},
		{[]string{"--parallel", "4"}, "use n_parallel"},
		{[]string{"--media-path", "/"}, "args: --media-path would let clients read files"},
		{[]string{"--media_path=/"}, "args: --media-path would let clients read files"},
		{[]string{"--flash-attn", "on"}, ""},
	} {
		err := Config{ModelPath: "m.gguf", Args: JoinArgs(test.args)}.Validate()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%v: got %v, want %q", test.args, err, test.want)
		}
	}
}

func TestOnlyWhatLlamaServerTakesIsValid(t *testing.T) {
	const types = "f32, f16, bf16, q8_0, q4_0, q4_1, iq4_nl, q5_0, q5_1"
	for _, test := range []struct {
		config Config
		want   string
	}{
		{Config{CacheTypeK: "q99"}, `cache_type_k "q99" is none of ` + types},
		{Config{CacheTypeV: "F16"}, `cache_type_v "F16" is none of ` + types},
		{Config{CacheTypeK: "iq4_nl", CacheTypeV: "q5_1"}, ""},
		{Config{Embeddings: "foo"}, `embeddings "foo" is none of none, mean, cls, last, rank`},
		{Config{Embeddings: "none"}, ""},
		{Config{Embeddings: "rank"}, ""},
	} {
		test.config.ModelPath = "m.gguf"
		got := ""
		if err := test.config.Validate(); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
