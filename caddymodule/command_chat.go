package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/caddyserver/caddy/v2"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/openai"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/talk"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/terminal"
)

func chatCommand() *cobra.Command {
	var f chatFlags
	cmd := &cobra.Command{
		Use:   "chat [--model <name>] [--system <text>] [--image <file>...] [<question>...]",
		Short: "Talks to a model of a running gateway",
		Long: `
Talks to a model, in a conversation at the terminal. Ctrl-C stops an answer; /exit or
Ctrl-D ends, and /help says what else there is.

With a question, or where one comes through a pipe, it writes the answer and ends. The
exit code says whether the answer is whole:

	caddy llm chat "What is the capital of France?"
	caddy llm chat --system "Summarize in a sentence." <report.txt
	caddy llm chat --image screen.png "What is open here?"

Without --model it talks to the gateway's model "auto" or, if there is none, to the
first that the gateway has. Any other server with OpenAI's API will do, too.
`,
	}
	cmd.Flags().StringVarP(&f.model, "model", "m", "", "Model to talk to")
	cmd.Flags().StringVar(&f.url, "url", "http://localhost:"+cmp.Or(os.Getenv("LLM_PORT"), "7000")+"/v1", "Base URL of the API")
	cmd.Flags().StringVar(&f.key, "key", "{env.LLM_API_KEY}", "Key of the API; better a placeholder such as {env.NAME} or {file.PATH} than the key itself")
	cmd.Flags().StringVarP(&f.system, "system", "s", "", "What to tell the model first")
	cmd.Flags().StringArrayVarP(&f.images, "image", "i", nil, "Picture to show with the first question (repeatable)")
	cmd.DisableFlagsInUseLine = true
	cmd.RunE = harmless(f.run)
	return cmd
}

// chatFlags holds the flags of `caddy llm chat`.
type chatFlags struct {
	model, url, key, system string

	images []string
}

func (f *chatFlags) run(cmd *cobra.Command, args []string) error {
	key := strings.TrimSpace(caddy.NewReplacer().ReplaceAll(f.key, ""))
	transport := openai.DefaultTransport()
	client, err := openai.NewClient(f.url, key, nil, transport)
	if err != nil {
		return err
	}
	images := make([]string, 0, len(f.images))
	for _, path := range f.images {
		image, err := talk.Image(path)
		if err != nil {
			return err
		}
		images = append(images, image)
	}
	ctx := cmd.Context()
	model := f.model
	if model == "" {
		if model, err = talk.DefaultModel(ctx, transport, f.url, key); err != nil {
			return err
		}
	}
	c := &talk.Chat{
		Provider: client, Model: model, System: f.system,
		Out: cmd.OutOrStdout(), Live: terminal.Is(os.Stdout),
	}
	if terminal.Is(os.Stderr) {
		c.Thoughts = cmd.ErrOrStderr()
	}
	question := strings.Join(args, " ")
	if question == "" && !isTerminal(cmd.InOrStdin()) {
		text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxQuestion+1))
		if err != nil {
			return err
		}
		if question = strings.TrimSpace(string(text)); question == "" || len(text) > maxQuestion {
			return errors.New("there is no question on standard input, or one that is too long")
		}
	}
	if question != "" {
		return askOnce(ctx, c, question, images)
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	notes := cmd.ErrOrStderr()
	fmt.Fprintf(notes, "Talking to %s. /help says what there is, /exit ends.\n", terminal.Line(model))
	return c.Loop(ctx, cmd.InOrStdin(), notes, interrupts, images...)
}

// maxQuestion bounds what is read from a pipe.
const maxQuestion = 16 << 20

func askOnce(ctx context.Context, c *talk.Chat, question string, images []string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := c.Ask(ctx, question, images...)
	if err != nil && ctx.Err() != nil {
		return errors.New("stopped")
	}
	return err
}

func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && terminal.Is(f)
}
