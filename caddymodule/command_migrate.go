package caddymodule

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate <config.yaml>",
		Short: "Prints the Caddyfile that means the same as a config.yaml",
		Long: `
Prints the Caddyfile that a config.yaml stands for: what Caddy runs with

	caddy run --config config.yaml --adapter llmgateway

is what it runs with the Caddyfile. A Caddyfile can say all that the gateway and
Caddy can do, such as certificates, logins and further sites. Variables stay
placeholders, so that no key is in it.

	caddy llm migrate llmgateway/config.yaml >Caddyfile.mine
`,
		Args: cobra.ExactArgs(1),
	}
	cmd.DisableFlagsInUseLine = true
	cmd.RunE = harmless(func(cmd *cobra.Command, args []string) error {
		body, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		caddyfile, warnings, err := settingsCaddyfile(body, args[0])
		if err != nil {
			return err
		}
		for _, w := range warnings {
			cmd.PrintErrf("%s:%d: %s\n", w.File, w.Line, w.Message)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s", caddyfile)
		return err
	})
	return cmd
}
