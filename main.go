// Command socketbridge delivers messages from NATS to browsers over Socket.IO.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/codewar/socketbridge/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal drains, the second one kills
	os.Exit(cli.Run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
