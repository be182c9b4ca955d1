package caddymodule

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/inspect"
	"github.com/bytebot-llmgateway/bytebot-llmgateway/llmgateway/local"
)

func inspectCommand() *cobra.Command {
	var load local.Config // n_ctx and n_parallel only
	var projector string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect <file.gguf>",
		Short: "Says what the header of a model file says",
		Long: `
Says what a GGUF file is: its architecture, size, quantization and context, whether
its chat template knows tools, how its weights are stored, and about how much memory
it takes with a context of --n-ctx tokens for each of --n-parallel requests at once.

Only the header is read, which takes an instant for a file of any size. If the file
is broken, it says how, and the exit code is not zero.
`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().IntVar(&load.NCtx, "n-ctx", 0, "Context of one request, in tokens (default: what the model was trained for)")
	cmd.Flags().IntVar(&load.NParallel, "n-parallel", 1, "Requests at once")
	cmd.Flags().StringVar(&projector, "mmproj", "", "File of the vision projector to load with the model (default: the one beside it, if any)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Write JSON")
	cmd.DisableFlagsInUseLine = true
	cmd.RunE = harmless(func(cmd *cobra.Command, args []string) error {
		m, broken := inspect.Open(args[0])
		if errors.Is(broken, inspect.ErrLaterPart) {
			return broken
		}
		if projector == "" {
			projector = local.FindProjector(args[0])
		}
		if projector != "" {
			p, err := inspect.Open(projector)
			if err != nil {
				return fmt.Errorf("vision projector: %w", err)
			}
			m.See(p)
		}
		m.Estimate(load.Load())
		var err error
		if asJSON {
			err = printJSON(cmd.OutOrStdout(), m)
		} else {
			err = m.Write(cmd.OutOrStdout())
		}
		return errors.Join(broken, err)
	})
	return cmd
}
