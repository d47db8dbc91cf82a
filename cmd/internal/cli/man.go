//go:build man

// This file writes the man pages from the help texts, by cobra's generator. Only
// `make docs` builds it.

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"lvsd/cmd/internal/cli/command"
	"lvsd/docs"
)

func init() {
	manPages = func(folder string) error {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		root := rootCommand(&command.Options{})
		root.DisableAutoGenTag = true
		header := &doc.GenManHeader{Title: "LVSD", Section: "8", Source: "lvsd", Manual: "System Administration"}
		if err := doc.GenManTree(root, header, folder); err != nil {
			return err
		}
		if err := appendCommon(root, folder); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(folder, "lvsd.toml.5"), []byte(referencePage()), 0o644)
	}
}

// The sections that every page has, and SIGNALS of lvsd run.
const (
	commonSections = ".SH FILES\n.TP\n/etc/lvsd/lvsd.toml\nthe configuration, see lvsd.toml(5); \\fB\\-c\\fP names another\n" +
		".TP\n/run/lvsd/control.sock\nthe control socket, [global] control_socket\n" +
		".TP\n/var/lib/lvsd\nstate over restarts and the history of events, [global] state_dir\n" +
		".SH EXIT STATUS\n.TP\n0\ndone, or healthy\n.TP\n1\nfailed, or unhealthy\n.TP\n2\nwrong usage\n" +
		".TP\n3\nlvsd plan \\-\\-exit\\-code: a reload would change something\n.PP\n" +
		"lvsd status \\-\\-check exits as monitoring plugins do: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.\n"
	signalsSection = ".SH SIGNALS\n.TP\nSIGHUP\nreloads the configuration\n.TP\nSIGTERM, SIGINT\nhands over to the peer and stops\n"
)

// appendCommon adds the common sections to the pages of a command and of those below.
func appendCommon(cmd *cobra.Command, folder string) error {
	text := commonSections
	if cmd.CommandPath() == "lvsd run" || !cmd.HasParent() {
		text += signalsSection
	}
	name := filepath.Join(folder, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".8")
	page, err := os.ReadFile(name)
	if err == nil {
		before, after, found := strings.Cut(string(page), ".SH SEE ALSO")
		if found {
			after = ".SH SEE ALSO" + after
		}
		err = os.WriteFile(name, []byte(before+text+after), 0o644)
	}
	if err != nil && !(os.IsNotExist(err) && (cmd.Hidden || cmd.Name() == "help")) {
		return err
	}
	for _, c := range cmd.Commands() {
		if err := appendCommon(c, folder); err != nil {
			return err
		}
	}
	return nil
}

// referencePage is docs/lvsd.toml as a page of section 5.
func referencePage() string {
	var b strings.Builder
	b.WriteString(".TH LVSD.TOML 5 \"\" lvsd \"File Formats\"\n.SH NAME\nlvsd.toml \\- the configuration of lvsd\n" +
		".SH DESCRIPTION\nEvery key with its default. This text is itself a valid configuration.\n.SH KEYS\n.nf\n")
	for line := range strings.Lines(docs.Reference) {
		line = strings.ReplaceAll(line, `\`, `\e`)
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		b.WriteString(strings.ReplaceAll(line, "-", `\-`))
	}
	fmt.Fprint(&b, ".fi\n.SH SEE ALSO\n.BR lvsd (8)\n")
	return b.String()
}
