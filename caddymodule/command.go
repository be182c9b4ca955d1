package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/terminal"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "llm",
		Usage: "<command>",
		Short: "Commands for working with language models",
		Long: `
Lists, inspects and downloads models, talks to them, and finds out what is wrong.

	caddy llm models                      what there is in ./models
	caddy llm models --config Caddyfile   what a configuration runs
	caddy llm inspect model.gguf          what the header of a file says
	caddy llm pull <repository>           a model from Hugging Face
	caddy llm chat                        a conversation with a running gateway
	caddy llm migrate config.yaml         the Caddyfile that means the same
	caddy llm doctor                      what keeps the gateway from working
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.AddCommand(modelsCommand(), inspectCommand(), pullCommand(), chatCommand(), migrateCommand(), doctorCommand())
			cmd.RunE = harmless(func(cmd *cobra.Command, args []string) error {
				if len(args) > 0 {
					return fmt.Errorf("unknown command %q; `caddy llm` lists what there is", args[0])
				}
				return cmd.Help()
			})
		},
	})
}

// harmless makes a command's function return errors that can be printed: they may quote files and servers.
func harmless(f func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := f(cmd, args); err != nil {
			return errors.New(terminal.Text(err.Error()))
		}
		return nil
	}
}

// printJSON writes v for programs. What a terminal would act upon is escaped.
func printJSON(w io.Writer, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, terminal.Text(string(data)))
	return err
}
