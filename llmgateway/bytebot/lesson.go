package bytebot

import (
	"strings"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
)

// lesson is what a target has taught about the requests that it takes.
type lesson struct {
	form form
}

// complaints are words of errors, in lower case, and the form that answers them. Templates raise the first ones, and services
// and servers say the others.
var complaints = []struct {
	words string
	form  form
}{
	{"single tool-call", oneCall},
	{"one tool call at a time", oneCall},
	{"length 9", shortIDs},
	{"length of 9", shortIDs},
	{"system role not supported", plain},
	{"unexpected role 'user' after role 'tool'", alternating},
	{"except for tool calls and results", alternating},
	{"roles must alternate", plain},
	{"reasoning_content", thoughtless},
	{"content and thinking", thoughtless},
	{"no previous assistant message with a tool call", plain},
	{"must define tools", plain},
	{"role 'tool'", plain},
	{"tool role", plain},
}

// learn takes in why a request was refused that was sent as the lesson says. changed is false if that taught nothing.
func (l *lesson) learn(err *llmgateway.Error) (changed bool) {
	said := strings.ToLower(err.Error())
	for _, c := range complaints {
		if strings.Contains(said, c.words) && l.form&c.form == 0 && l.form&plain == 0 {
			l.form |= c.form
			return true
		}
	}
	return false
}
