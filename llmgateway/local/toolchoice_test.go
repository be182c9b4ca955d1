package local

import (
	"reflect"
	"testing"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

func TestToolChoiceLeavesTheToolsThatMayBeCalled(t *testing.T) {
	const (
		a = `{"type":"function", "function":{"name":"a","parameters":{"x":1e400}}}`
		b = `{ "function": {"description":"{\"name\":\"a\"}","name":"\u0062"} }`
	)
	edits := func(tools, choice string) []llmgateway.Edit {
		return []llmgateway.Edit{{Name: "tools", Value: tools}, {Name: "tool_choice", Value: choice}}
	}
	tests := []struct {
		name, choice string
		want         []llmgateway.Edit
		kind         llmgateway.Kind // of the error
	}{
		{name: "auto", choice: `"auto"`},
		{name: "required", choice: `"required"`},
		{name: "null", choice: `null`},
		{name: "a word that is left to llama-server", choice: `"any"`},
		{name: "none", choice: `"none"`, want: edits("", "")},
		{name: "one", choice: `{"type":"function","function":{"name":"a"}}`, want: edits("["+a+"]", `"required"`)},
		{name: "one whose name is written otherwise", choice: `{"function":{"name":"b"},"type":"function"}`, want: edits("["+b+"]", `"required"`)},
		{name: "some", choice: `{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"b"}},{"type":"function","function":{"name":"a"}}]}}`, want: edits("["+a+","+b+"]", `"required"`)},
		{name: "at most one", choice: `{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function","function":{"name":"a"}}]}}`, want: edits("["+a+"]", `"auto"`)},
		{name: "a number", choice: `5`, kind: llmgateway.InvalidRequest},
		{name: "true", choice: `true`, kind: llmgateway.InvalidRequest},
		{name: "a list", choice: `["auto"]`, kind: llmgateway.InvalidRequest},
		{name: "one that is not there", choice: `{"type":"function","function":{"name":"c"}}`, kind: llmgateway.InvalidRequest},
		{name: "one without a name", choice: `{"type":"function","function":{}}`, kind: llmgateway.Unsupported},
		{name: "a custom one", choice: `{"type":"custom","custom":{"name":"a"}}`, kind: llmgateway.Unsupported},
		{name: "some in an unknown mode", choice: `{"type":"allowed_tools","allowed_tools":{"mode":"a","tools":[{"function":{"name":"a"}}]}}`, kind: llmgateway.Unsupported},
		{name: "none of some", choice: `{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}}`, kind: llmgateway.Unsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := ask(t, llmgateway.Chat, `{"model":"m","tools":[%s,%s],"tool_choice":%s}`, a, b, tt.choice)
			got, err := withToolChoice(req)
			if tt.kind != "" {
				if e := llmgateway.AsError(err); err == nil || e.Kind != tt.kind || e.Param != "tool_choice" {
					t.Errorf("got %v, want %s", err, tt.kind)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got.Edits, tt.want) {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
			if req.Edits != nil {
				t.Error("the client's request was changed")
			}
		})
	}
}

func TestToolChoiceWithoutToolsIsLeftAlone(t *testing.T) {
	for _, body := range []string{`{"model":"m","tool_choice":"none"}`, `{"model":"m","tool_choice":{"type":"function"}}`} {
		req := ask(t, llmgateway.Chat, "%s", body)
		if got, err := withToolChoice(req); err != nil || got != req {
			t.Errorf("%s: got %+v, %v", body, got, err)
		}
	}
}
