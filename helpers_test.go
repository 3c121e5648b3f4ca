package main

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/codewar/socketbridge/internal/config"
)

var (
	goodSecret = "main:" + strings.Repeat("s", 32)
	goodEntry  = "judge:" + strings.Repeat("0a", 32)
)

// mustLoad loads the configuration of the environment.
func mustLoad(t testing.TB) config.Config {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	config.AddFlags(flags)
	c, err := config.Load(flags)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
