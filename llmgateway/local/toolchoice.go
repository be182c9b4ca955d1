package local

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// withToolChoice returns a request whose tool_choice llama-server heeds. By itself, version 0.5.0 shows the model all tools
// even if the choice is "none", and gives the client the text of a call for an answer; and it takes every choice that is
// an object for "auto". So the tools that must not be called are left out, and one that must be is the only one, required.
func withToolChoice(req *llmgateway.Request) (*llmgateway.Request, error) {
	choice, chosen := req.Lookup("tool_choice")
	tools, offered := req.Lookup("tools")
	if !chosen || !offered || req.Operation != llmgateway.Chat {
		return req, nil
	}
	raw := req.Raw(choice)
	switch raw[0] {
	case '{':
	case '"', 'n':
		if string(raw) != `"none"` {
			return req, nil
		}
		return edited(req, llmgateway.Edit{Name: "tools"}, llmgateway.Edit{Name: "tool_choice"}), nil
	default: // llama-server takes it for "auto"
		return nil, badChoice(llmgateway.InvalidRequest, "tool_choice must be a string or an object")
	}
	names, mode, ok := allowed(gjson.ParseBytes(raw))
	if !ok {
		return nil, badChoice(llmgateway.Unsupported, "the local model does not know this kind of tool_choice; it knows none, auto, required, function and allowed_tools")
	}
	kept, ok := only(gjson.ParseBytes(req.Raw(tools)), names)
	if !ok {
		return nil, badChoice(llmgateway.InvalidRequest, "tool_choice names a tool that is not among tools")
	}
	return edited(req, llmgateway.Edit{Name: "tools", Value: kept}, llmgateway.Edit{Name: "tool_choice", Value: mode}), nil
}

func badChoice(kind llmgateway.Kind, message string) error {
	return &llmgateway.Error{Kind: kind, Message: message, Param: "tool_choice"}
}

func edited(req *llmgateway.Request, edits ...llmgateway.Edit) *llmgateway.Request {
	changed := *req
	changed.Edits = append(slices.Clip(req.Edits), edits...)
	return &changed
}

// allowed returns the names of the functions that a choice leaves, and the choice among them that says the same.
func allowed(choice gjson.Result) (names []string, mode string, ok bool) {
	switch choice.Get("type").Str {
	case "function":
		name := choice.Get("function.name")
		return []string{name.Str}, `"required"`, name.Type == gjson.String
	case "allowed_tools":
		choice = choice.Get("allowed_tools")
		switch choice.Get("mode").Str {
		case "auto":
			mode = `"auto"`
		case "required":
			mode = `"required"`
		default:
			return nil, "", false
		}
		ok = true
		choice.Get("tools").ForEach(func(_, tool gjson.Result) bool {
			name := tool.Get("function.name")
			names = append(names, name.Str)
			ok = ok && name.Type == gjson.String
			return ok
		})
		return names, mode, ok && len(names) > 0
	default:
		return nil, "", false
	}
}

// only returns the tools with the given names, each as the client wrote it. It is not ok if a name has no tool.
func only(tools gjson.Result, names []string) (kept string, ok bool) {
	var list []string
	found := make(map[string]bool)
	tools.ForEach(func(_, tool gjson.Result) bool {
		if name := tool.Get("function.name").Str; slices.Contains(names, name) {
			list = append(list, tool.Raw)
			found[name] = true
		}
		return true
	})
	for _, name := range names {
		if !found[name] {
			return "", false
		}
	}
	return "[" + strings.Join(list, ",") + "]", true
}
