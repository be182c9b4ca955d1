// Package talk holds a conversation with a model for somebody who sits at a terminal, or for a script.
package talk

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/terminal"
)

// Chat is a conversation. It is not for concurrent use.
type Chat struct {
	// Provider answers; usually an [openai.Client].
	Provider llmgateway.Provider
	// Model is the model that is asked for.
	Model string
	// System is what the model is told first, or empty.
	System string

	// Out gets the answers as they come. If Live is true it is a terminal, and what it would obey is written out.
	Out  io.Writer
	Live bool
	// Thoughts gets what the model thinks before it answers. If it is nil, nobody sees it.
	Thoughts io.Writer

	turns []turn
}

// turn is a message in OpenAI's format.
type turn struct {
	Role    string `json:"role"`
	Content any    `json:"content"` // a string, or a list of part
}

type part struct {
	Type     string    `json:"type"`
	Text     string    `json:"text,omitempty"`
	ImageURL *imageURL `json:"image_url,omitempty"`
}

type imageURL struct {
	URL string `json:"url"`
}

// Forget begins a new conversation.
func (c *Chat) Forget() { c.turns = nil }

// Ask adds a question, with images as [Image] returns them, and writes the answer. What a model said before it broke off or
// was stopped stays in the conversation; a question that got no answer at all does not.
func (c *Chat) Ask(ctx context.Context, question string, images ...string) error {
	before := c.turns
	c.turns = append(c.turns, turn{"user", content(question, images)})
	req, err := c.request()
	if err != nil {
		c.turns = before
		return err
	}
	a := answer{chat: c}
	for event, err := range c.Provider.Generate(ctx, req) {
		if err == nil {
			err = a.add(event.Data)
		}
		if err != nil {
			return a.end(before, cmp.Or(context.Cause(ctx), explain(err)))
		}
	}
	return a.end(before, nil)
}

func content(question string, images []string) any {
	if len(images) == 0 {
		return question
	}
	parts := make([]part, 0, len(images)+1)
	for _, image := range images {
		parts = append(parts, part{Type: "image_url", ImageURL: &imageURL{image}})
	}
	return append(parts, part{Type: "text", Text: question})
}

func (c *Chat) request() (*llmgateway.Request, error) {
	turns := c.turns
	if c.System != "" {
		turns = append([]turn{{"system", c.System}}, turns...)
	}
	body, err := json.Marshal(map[string]any{"model": c.Model, "messages": turns, "stream": true})
	if err != nil {
		return nil, err
	}
	return openai.Read(llmgateway.Chat, llmgateway.NewBody(body))
}

// answer is an answer that is coming.
type answer struct {
	chat     *Chat
	text     strings.Builder
	thinking bool
	finish   string
	calls    bool
}

// add writes what an event brings.
func (a *answer) add(data []byte) error {
	choice := gjson.GetBytes(data, "choices.0")
	delta := choice.Get("delta")
	if !delta.Exists() {
		delta = choice.Get("message") // a provider that does not stream
	}
	a.finish = cmp.Or(choice.Get("finish_reason").String(), a.finish)
	a.calls = a.calls || delta.Get("tool_calls.0").Exists()
	if thought := cmp.Or(delta.Get("reasoning_content").String(), delta.Get("reasoning").String()); thought != "" && a.chat.Thoughts != nil {
		if !a.thinking {
			a.thinking = true
			thought = dim + terminal.Text(thought)
		} else {
			thought = terminal.Text(thought)
		}
		if _, err := io.WriteString(a.chat.Thoughts, thought); err != nil {
			return err
		}
	}
	text := delta.Get("content").String() + delta.Get("refusal").String()
	if text == "" {
		return nil
	}
	a.awake()
	a.text.WriteString(text)
	if a.chat.Live {
		text = terminal.Text(text)
	}
	_, err := io.WriteString(a.chat.Out, text)
	return err
}

// Thoughts are shown dimly (https://en.wikipedia.org/wiki/ANSI_escape_code#Select_Graphic_Rendition_parameters).
const (
	dim   = "\x1b[2m"
	plain = "\x1b[0m"
)

// awake ends the thoughts.
func (a *answer) awake() {
	if a.thinking {
		a.thinking = false
		_, _ = io.WriteString(a.chat.Thoughts, plain+"\n\n")
	}
}

// end ends the answer, and the line that it ends in.
func (a *answer) end(before []turn, err error) error {
	a.awake()
	c := a.chat
	text := a.text.String()
	if text != "" && !strings.HasSuffix(text, "\n") {
		_, _ = io.WriteString(c.Out, "\n")
	}
	if text == "" {
		c.turns = before
	} else {
		c.turns = append(c.turns, turn{"assistant", text})
	}
	switch {
	case err != nil:
		return err
	case a.finish == "length":
		return ErrCut
	case text == "" && a.calls:
		return errors.New("the model calls a tool instead of answering, and there is none here")
	case text == "":
		return errors.New("the model answers nothing")
	}
	return nil
}

// ErrCut means that an answer is as long as it may be, and not whole.
var ErrCut = errors.New("the answer is cut: it is as long as the context or the gateway allows")

// explain returns an error as the gateway says it.
func explain(err error) error {
	e, ok := errors.AsType[*llmgateway.Error](err)
	if !ok {
		return err
	}
	_, network := errors.AsType[*net.OpError](err)
	switch {
	case network && e.Status == 0:
		return fmt.Errorf("no gateway can be reached there; `make run` starts one (%w)", e.Err)
	case e.Kind == llmgateway.Denied:
		return fmt.Errorf("the gateway refuses the key (HTTP %d)", e.Status)
	case e.Err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New(e.Message)
	default:
		return e.Err
	}
}

// maxImage bounds a picture; gateways take less.
const maxImage = 64 << 20

// Image returns a picture in a file as a data URL.
func Image(path string) (string, error) {
	if stat, err := os.Stat(path); err == nil && !stat.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxImage+1))
	if err != nil {
		return "", err
	}
	kind := http.DetectContentType(data)
	switch {
	case len(data) > maxImage:
		return "", fmt.Errorf("%s is too large for an image", path)
	case !strings.HasPrefix(kind, "image/"):
		return "", fmt.Errorf("%s is no image that is known here, but %s", path, kind)
	}
	return "data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(data), nil
}
