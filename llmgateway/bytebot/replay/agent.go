// Package replay behaves as Bytebot's agent does towards its LLM proxy, so that tests can run whole tasks: it sends what the agent
// sends, in the agent's odd shape, reads of an answer what the agent reads, repeats requests when and as often as the agent's SDK
// does, and gives up where the agent gives up. The desktop is a pretended one.
package replay

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Tools are tools with the names and the types of the agent's.
//
//go:embed tools.json
var Tools string

// Agent runs tasks.
type Agent struct {
	// URL is what BYTEBOT_LLM_PROXY_URL would be.
	URL string
	// Client sends requests.
	Client *http.Client
	// Model is the name of the model, and ContextWindow what the agent takes its context for; 0 means 128000.
	Model         string
	ContextWindow int
	// Wait waits before a request is repeated. Nil means to sleep.
	Wait func(context.Context, time.Duration)
	// Patience is how long the agent waits for the header of an answer, and between two pieces of it; 0 means 300s, as with the
	// agent's HTTP client.
	Patience time.Duration
	// MaxTurns ends a task that has no end. The agent has no such bound.
	MaxTurns int
	// Desktop is what calls act on.
	Desktop *Desktop
}

// Status is how a task ended, in the agent's words.
type Status string

const (
	// Completed is a task whose model said so.
	Completed Status = "COMPLETED"
	// NeedsHelp is a task that the user can read about and resume.
	NeedsHelp Status = "NEEDS_HELP"
	// Failed is a task that the agent gave up. It tells the user no reason.
	Failed Status = "FAILED"
	// Endless is a task that took more than MaxTurns.
	Endless Status = "endless"
)

// Outcome is what became of a task.
type Outcome struct {
	Status Status
	// Description is what the model said when it ended the task, or why the agent gave up.
	Description string
	// Turns counts the answers, Requests what was sent for them, Summaries the answers that were summaries.
	Turns, Requests, Summaries int
}

const (
	maxTokens        = 8192
	defaultWindow    = 128000
	defaultPatience  = 300 * time.Second
	summaryThreshold = 0.75
)

// Start returns a task that does not run yet.
func (a *Agent) Start(description string) *Task {
	return &Task{agent: a, messages: []message{{role: "user", blocks: []block{{kind: "text", text: description}}}}}
}

// Run runs a task to its end. One that needs help may be run again, as if the user had resumed it.
func (t *Task) Run(ctx context.Context) Outcome {
	t.outcome.Status = ""
	for {
		if most := t.agent.MaxTurns; most > 0 && t.outcome.Turns >= most {
			t.outcome.Status = Endless
			return t.outcome
		}
		if err := t.turn(ctx); err != nil {
			t.outcome.Status, t.outcome.Description = Failed, err.Error()
		}
		if t.outcome.Status != "" {
			return t.outcome
		}
	}
}

// Task is a task of an agent.
type Task struct {
	agent    *Agent
	messages []message
	summary  string
	outcome  Outcome
}

// message is what the agent keeps of a turn of the model, or of what was done.
type message struct {
	role   string
	blocks []block
}

// block is a piece of a message: a text, thinking, an image, a call, or a result of one.
type block struct {
	kind      string
	text      string
	id, name  string
	arguments map[string]any
	result    []block
}

// turn asks the model once and does what it says.
func (t *Task) turn(ctx context.Context) error {
	answer, err := t.ask(ctx, systemPrompt, t.messages, true)
	if err != nil {
		return err
	}
	t.outcome.Turns++
	blocks, err := answer.blocks()
	if err != nil {
		return err
	}
	if len(blocks) == 0 {
		return errors.New("the answer has nothing in it")
	}
	t.messages = append(t.messages, message{"assistant", blocks})
	window := t.agent.ContextWindow
	if window == 0 {
		window = defaultWindow
	}
	if float64(answer.Usage.TotalTokens) >= summaryThreshold*float64(window) {
		t.summarise(ctx)
	}
	var results []block
	for _, b := range blocks {
		if b.kind == "call" {
			results = append(results, t.do(b)...)
		}
	}
	if len(results) > 0 {
		t.messages = append(t.messages, message{"user", results})
	}
	return nil
}

// do carries out one call. A call of a tool that does not exist has no result.
func (t *Task) do(call block) []block {
	result := func(blocks ...block) []block { return []block{{kind: "result", id: call.id, result: blocks}} }
	switch {
	case call.name == "set_task_status":
		description, _ := call.arguments["description"].(string)
		switch call.arguments["status"] {
		case "completed":
			t.outcome.Status, t.outcome.Description = Completed, description
		case "needs_help":
			t.outcome.Status, t.outcome.Description = NeedsHelp, description
		}
		return result(block{kind: "text", text: "The status was set."})
	case call.name == "create_task":
		return result(block{kind: "text", text: "The task was created."})
	case call.name == "computer_screenshot":
		return result(block{kind: "image", text: t.agent.Desktop.Screenshot()})
	case call.name == "computer_cursor_position":
		return result(block{kind: "text", text: "Cursor position: 640, 480"})
	case call.name == "computer_read_file":
		return result(block{kind: "document", text: "aGVsbG8="})
	case strings.HasPrefix(call.name, "computer_"):
		t.agent.Desktop.Do(call.name, call.arguments)
		return result(block{kind: "text", text: "Tool executed successfully"}, block{kind: "image", text: t.agent.Desktop.Screenshot()})
	default:
		return nil
	}
}

// summarise asks for a summary of all but the last turn. If there is none, all stays as it was.
func (t *Task) summarise(ctx context.Context) {
	asking := slices.Concat(t.messages, []message{{"user", []block{{kind: "text", text: "Summarise all that was said above, and nothing else."}}}})
	answer, err := t.ask(ctx, "You write summaries of conversations.", asking, false)
	if err != nil {
		return
	}
	blocks, err := answer.blocks()
	if err != nil {
		return
	}
	var texts []string
	for _, b := range blocks {
		if b.kind == "text" {
			texts = append(texts, b.text)
		}
	}
	t.outcome.Summaries++
	t.summary = strings.Join(texts, "\n")
	t.messages = t.messages[len(t.messages)-1:]
}

// systemPrompt is about as long as the agent's, in words of its own.
var systemPrompt = "You operate a computer whose screen measures 1280 x 960 pixels. Look at the screen before you act, do one thing at a time, look again, and end the task with set_task_status.\n" +
	strings.Repeat("Be careful with what belongs to the user. Prefer the keyboard where it is quicker. Wait while a program starts.\n", 80)

// answer is what the agent reads of an answer.
type answer struct {
	Choices []struct {
		Message *struct {
			Content          json.RawMessage `json:"content"`
			ReasoningContent string          `json:"reasoning_content"`
			Refusal          string          `json:"refusal"`
			ToolCalls        []struct {
				ID       string `json:"id"`
				Type     string `json:"type"`
				Function struct {
					Name      string `json:"name"`
					Arguments string `json:"arguments"`
				} `json:"function"`
			} `json:"tool_calls"`
		} `json:"message"`
	} `json:"choices"`
	Usage struct {
		TotalTokens int `json:"total_tokens"`
	} `json:"usage"`
}

// blocks returns what an answer says, as the agent keeps it.
func (a *answer) blocks() (blocks []block, err error) {
	if len(a.Choices) == 0 || a.Choices[0].Message == nil {
		return nil, errors.New("the answer has no message")
	}
	m := a.Choices[0].Message
	var content string
	if len(m.Content) > 0 && json.Unmarshal(m.Content, &content) != nil {
		return nil, fmt.Errorf("the content is no text: %.100s", m.Content)
	}
	if content != "" {
		blocks = append(blocks, block{kind: "text", text: content})
	}
	if m.Refusal != "" {
		blocks = append(blocks, block{kind: "text", text: "Refusal: " + m.Refusal})
	}
	if m.ReasoningContent != "" {
		blocks = append(blocks, block{kind: "thinking", text: m.ReasoningContent})
	}
	for _, c := range m.ToolCalls {
		if c.Type != "function" {
			continue
		}
		arguments := map[string]any{}
		if json.Unmarshal([]byte(c.Function.Arguments), &arguments) != nil || arguments == nil {
			arguments = map[string]any{}
		}
		blocks = append(blocks, block{kind: "call", id: c.ID, name: c.Function.Name, arguments: arguments})
	}
	return blocks, nil
}
