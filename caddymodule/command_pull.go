package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/hub"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/inspect"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/terminal"
)

func pullCommand() *cobra.Command {
	var p hub.Pull
	var connections int
	cmd := &cobra.Command{
		Use:   "pull <owner/repository>[:<file or quantization>]",
		Short: "Downloads a model from Hugging Face",
		Long: `
Downloads a model in GGUF from Hugging Face's hub, with all its files if it is split:

	caddy llm pull Qwen/Qwen2.5-0.5B-Instruct-GGUF
	caddy llm pull Qwen/Qwen2.5-0.5B-Instruct-GGUF:q8_0
	caddy llm pull ggml-org/gemma-3-4b-it-GGUF:gemma-3-4b-it-Q4_K_M.gguf --mmproj

Without a file or a quantization it takes the repository's only model, or the one in
Q4_K_M. A download that was cut goes on where it ended when it is asked for again. What
arrived is compared with the hub's checksum before the file gets its name.

Some models are not for everybody: accept the licence on their page, and set HF_TOKEN
(or HF_API_KEY) to an access token. HF_ENDPOINT names another hub than
https://huggingface.co; only that one gets the token.
`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&p.Dir, "to", "models", "Folder to put the files into")
	cmd.Flags().StringVar(&p.Revision, "revision", hub.DefaultRevision, "Branch, tag or commit of the repository")
	cmd.Flags().BoolVar(&p.Projector, "mmproj", false, "Download the repository's vision projector, too")
	cmd.Flags().BoolVar(&p.Replace, "force", false, "Replace files that are there and differ")
	cmd.Flags().IntVar(&connections, "connections", 4, "How many parts of a file to fetch at once")
	cmd.DisableFlagsInUseLine = true
	cmd.RunE = harmless(func(cmd *cobra.Command, args []string) error {
		r, err := hub.ParseReference(args[0])
		if err != nil {
			return err
		}
		r.Revision = p.Revision
		p.Reference = r
		c, err := hub.NewClient(os.Getenv("HF_ENDPOINT"), cmp.Or(os.Getenv("HF_TOKEN"), os.Getenv("HF_API_KEY")))
		if err != nil {
			return err
		}
		c.Connections = min(connections, 16)
		return pull(cmd, c, p)
	})
	return cmd
}

func pull(cmd *cobra.Command, c *hub.Client, p hub.Pull) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	var mu sync.Mutex // guards meter
	meter := terminal.Meter{W: cmd.ErrOrStderr(), Live: terminal.Is(os.Stderr)}
	c.Say = func(message string) {
		mu.Lock()
		defer mu.Unlock()
		meter.Clear()
		fmt.Fprintln(meter.W, terminal.Line(message))
	}
	c.Progress = func(now hub.Progress) {
		what := "downloading "
		if now.Checking {
			what = "checking "
		}
		mu.Lock()
		defer mu.Unlock()
		meter.Show(what+now.Name, now.Done, now.Total)
	}
	paths, err := c.Pull(ctx, p)
	meter.Clear()
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted; the same command goes on where this one ended")
	}
	if err != nil {
		return err
	}
	for _, path := range paths {
		fmt.Fprintln(cmd.OutOrStdout(), terminal.Line(path))
	}
	if m, err := inspect.Open(paths[0]); err != nil {
		return fmt.Errorf("it was downloaded whole, but is no usable model: %s: %w", m.Problem, err)
	}
	return nil
}
