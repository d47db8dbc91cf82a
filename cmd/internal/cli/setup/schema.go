// This file has lvsd schema.

package setup

import (
	"fmt"

	"github.com/spf13/cobra"

	"lvsd/cmd/internal/cli/command"
	"lvsd/docs"
)

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Example: "  lvsd schema >lvsd.schema.json",
		Short:   "Print the JSON Schema of lvsd.toml, for editors",
		Long:    "Prints the JSON Schema of lvsd.toml, with which an editor completes and explains\nkeys and marks errors. Name it in the first line of the file:\n\n  #:schema /usr/share/lvsd/lvsd.schema.json\n\nlvsd check finds more errors: combinations of keys, and values per director.",
		Args:    command.NoArgs,
		RunE: command.AsFailure(func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(command.Stdout, docs.Schema)
			return err
		}),
	}
}
