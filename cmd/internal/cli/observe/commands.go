package observe

import (
	"github.com/spf13/cobra"

	"lvsd/cmd/internal/cli/command"
)

// Commands returns the commands in the order of the help.
func Commands(o *command.Options) []*cobra.Command {
	return []*cobra.Command{statusCommand(o), watchCommand(o), whyCommand(o), eventsCommand(o), probeCommand(o)}
}
