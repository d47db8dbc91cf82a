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
		Use:   "schema",
		Short: "Print the JSON Schema of lvsd.toml, for editors",
		Long:  "Prints the JSON Schema of lvsd.toml, by which an editor completes keys, explains\nthem and marks mistakes: name it in the file's first line, as\n\n  #:schema /usr/share/lvsd/lvsd.schema.json\n\nlvsd check finds more: what two keys mean together, and what differs by director.",
		Args:  cobra.NoArgs,
		RunE: command.AsFailure(func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(command.Stdout, docs.Schema)
			return err
		}),
	}
}
