package bytebot

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
)

// sent is a message as a provider reads it.
type sent struct {
	Role      string           `json:"role"`
	Content   *json.RawMessage `json:"content"`
	Reasoning *string          `json:"reasoning_content"`
	Calls     []sentCall       `json:"tool_calls"`
	Answers   string           `json:"tool_call_id"`
}

type sentCall struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

// text returns what a message says, parts put together; images are <image>.
func (m sent) text() string {
	if m.Content == nil {
		return ""
	}
	var s string
	if json.Unmarshal(*m.Content, &s) == nil {
		return s
	}
	var parts []struct {
		Type, Text string
	}
	_ = json.Unmarshal(*m.Content, &parts)
	for _, p := range parts {
		if p.Type == "image_url" {
			s += "<image>"
		}
		s += p.Text
	}
	return s
}

// A family says what a family of chat templates, or a service, refuses. The rules are those of the templates that the models'
// makers publish, in words of our own; the errors are what llama-server or the service says.
type family struct {
	name  string
	check func([]sent) error
}

var families = []family{
	{"OpenAI", checkOpenAI},
	{"Mistral's service", checkMistralService},
	{"Mistral", checkMistral},
	{"Devstral", checkDevstral},
	{"Llama 3", checkLlama3},
	{"Qwen 2.5", checkQwen},
	{"Qwen 3", checkQwen3},
	{"Gemma 2", checkGemma2},
	{"Gemma 3", checkAlternating},
	{"Phi 4", checkQwen},
	{"DeepSeek R1", checkDeepSeek},
	{"Hermes 3", checkQwen},
	{"Command R", checkAlternating},
	{"gpt-oss", checkGptOss},
	{"llama-server's prefill", checkPrefill},
}

// checkOpenAI follows https://platform.openai.com/docs/api-reference/chat/create.
func checkOpenAI(messages []sent) error {
	waiting := map[string]bool{}
	for i, m := range messages {
		if m.Role != "tool" && len(waiting) > 0 {
			return fmt.Errorf("message %d: an assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'", i)
		}
		switch m.Role {
		case "system", "user", "developer":
			if m.Content == nil {
				return fmt.Errorf("message %d: content is missing", i)
			}
		case "assistant":
			if len(m.Calls) == 0 && m.Content == nil {
				return fmt.Errorf("message %d: content is missing", i)
			}
			for _, call := range m.Calls {
				if call.ID == "" || call.Type != "function" || waiting[call.ID] || !json.Valid([]byte(call.Function.Arguments)) {
					return fmt.Errorf("message %d: bad call %+v", i, call)
				}
				waiting[call.ID] = true
			}
		case "tool":
			if !waiting[m.Answers] {
				return fmt.Errorf("message %d: messages with role 'tool' must be a response to a preceding message with 'tool_calls'", i)
			}
			if m.Content == nil {
				return fmt.Errorf("message %d: content is missing", i)
			}
			delete(waiting, m.Answers)
		default:
			return fmt.Errorf("message %d: role %q", i, m.Role)
		}
	}
	if len(waiting) > 0 {
		return errors.New("calls without answers")
	}
	return nil
}

var nine = regexp.MustCompile(`^[a-zA-Z0-9]{9}$`)

func checkIDs(messages []sent) error {
	for _, m := range messages {
		for _, call := range m.Calls {
			if !nine.MatchString(call.ID) {
				return errors.New("Tool call IDs should be alphanumeric strings with length 9!")
			}
		}
		if m.Role == "tool" && !nine.MatchString(m.Answers) {
			return errors.New("Tool call IDs should be alphanumeric strings with length 9!")
		}
	}
	return nil
}

func checkDevstral(messages []sent) error {
	next := "user"
	for i, m := range messages {
		if i == 0 && m.Role == "system" || m.Role == "tool" || m.Role == "assistant" && len(m.Calls) > 0 {
			continue
		}
		if m.Role != next {
			return errors.New("After the optional system message, conversation roles must alternate user and assistant roles except for tool calls and results.")
		}
		next = map[string]string{"user": "assistant", "assistant": "user"}[m.Role]
	}
	return nil
}

func checkMistral(messages []sent) error {
	if err := checkDevstral(messages); err != nil {
		return err
	}
	return checkIDs(messages)
}

func checkMistralService(messages []sent) error {
	for i, m := range messages[1:] {
		if m.Role == "user" && messages[i].Role == "tool" {
			return errors.New("Unexpected role 'user' after role 'tool'")
		}
	}
	if last := messages[len(messages)-1].Role; last == "assistant" {
		return errors.New("Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant")
	}
	if err := checkIDs(messages); err != nil {
		return err
	}
	return checkOpenAI(messages)
}

func checkLlama3(messages []sent) error {
	for _, m := range messages {
		if len(m.Calls) > 1 {
			return errors.New("This model only supports single tool-calls at once!")
		}
	}
	return checkQwen(messages)
}

// checkQwen is for templates that raise no exceptions, but join what they are given.
func checkQwen(messages []sent) error {
	for i, m := range messages {
		if m.Content == nil {
			return fmt.Errorf("message %d: can only concatenate str (not \"NoneType\") to str", i)
		}
	}
	return nil
}

func checkQwen3(messages []sent) error {
	for _, m := range messages {
		if m.Role == "user" {
			return checkQwen(messages)
		}
	}
	return errors.New("No user query found in messages.")
}

func checkAlternating(messages []sent) error {
	if messages[0].Role == "system" {
		messages = messages[1:]
	}
	for i, m := range messages {
		if m.Role != []string{"user", "assistant"}[i%2] {
			return errors.New("Conversation roles must alternate user/assistant/user/assistant/...")
		}
	}
	return checkQwen(messages)
}

func checkGemma2(messages []sent) error {
	if messages[0].Role == "system" {
		return errors.New("System role not supported")
	}
	return checkAlternating(messages)
}

func checkDeepSeek(messages []sent) error {
	for _, m := range messages {
		if m.Reasoning != nil {
			return errors.New("The reasoning_content is not allowed in the input messages")
		}
	}
	return checkQwen(messages)
}

func checkGptOss(messages []sent) error {
	for i, m := range messages {
		if m.Role == "tool" && (i == 0 || messages[i-1].Role != "tool" && len(messages[i-1].Calls) == 0) {
			return errors.New("Message has tool role, but there was no previous assistant message with a tool call!")
		}
		if m.Reasoning != nil && len(m.Calls) > 0 && m.text() != "" {
			return errors.New("Cannot pass both content and thinking in an assistant message with tool calls!")
		}
	}
	return nil
}

// checkPrefill is what llama-server does with an assistant's message at the end.
func checkPrefill(messages []sent) error {
	if messages[len(messages)-1].Role == "assistant" {
		return errors.New("Assistant response prefill is incompatible with enable_thinking.")
	}
	return nil
}
