package cli

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/codewar/socketbridge/internal/testutil/golden"
	"github.com/codewar/socketbridge/internal/testutil/launch"
)

// TestCommandLineReference holds docs/cli.md against the help texts:
// `go test ./internal/cli -run TestCommandLineReference -update` writes it.
func TestCommandLineReference(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("# Command line\n\nGenerated from the help texts. Every command also takes the flags of `socketbridge` itself, which say what the configuration is.\n" +
		"Exit status: 0 done, 1 failed, 2 configuration or usage wrong, 3 (`send` only) the user is offline.\n")
	describe(&b, newCommand())
	golden.Check(t, "../../docs/cli.md", b.Bytes())
}

// describe writes a command's section and then those of its own commands.
func describe(b *bytes.Buffer, cmd *cobra.Command) {
	fmt.Fprintf(b, "\n## %s\n\n%s.\n", cmd.CommandPath(), cmd.Short)
	if cmd.Long != "" {
		fmt.Fprintf(b, "\n%s\n", cmd.Long)
	}
	if cmd.Runnable() {
		fmt.Fprintf(b, "\n```\n%s\n```\n", cmd.UseLine())
	}
	if cmd.Example != "" {
		fmt.Fprintf(b, "\n```sh\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(cmd.Example, "  "), "\n  ", "\n"))
	}
	if flags := strings.TrimRight(cmd.LocalFlags().FlagUsages(), "\n"); flags != "" {
		fmt.Fprintf(b, "\n```\n%s\n```\n", flags)
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "completion" && sub.Name() != "help" {
			describe(b, sub)
		}
	}
}

// TestEveryCommandHelps: each says what it does, shows how, and completes in the shells.
func TestEveryCommandHelps(t *testing.T) {
	launch.Clean(t)
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: short help %q", cmd.CommandPath(), cmd.Short)
		}
		if cmd.Example == "" && !cmd.HasParent() {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		if out, _ := launch.Command(t, Run, exitStopped, args...); !strings.Contains(out, cmd.UseLine()) {
			t.Errorf("%s --help:\n%s", cmd.CommandPath(), out)
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newCommand())
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if out, _ := launch.Command(t, Run, exitStopped, "completion", shell); !strings.Contains(out, "socketbridge") {
			t.Errorf("completion %s prints %.100s", shell, out)
		}
	}
	if out, _ := launch.Command(t, Run, exitStopped, "__complete", "us"); !strings.HasPrefix(out, "user\tSay why") {
		t.Errorf("us is completed with\n%s", out)
	}
}
