package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/labstack/echo/v4"
)

// Programs that do nothing but what every server of this kind must. What they cost
// on this machine is the floor under what is measured of servers.
const (
	relayProgram = "relay" // takes one TCP connection, and passes what comes to another
	echoProgram  = "echo"  // reads a body over HTTP and answers, with the router that the bridge has
)

// runProgram is this program in the role of one of them. It ends by being killed.
func runProgram(args []string) (ours bool, err error) {
	if len(args) == 3 && args[0] == relayProgram {
		return true, relay(args[1], args[2])
	}
	if len(args) == 2 && args[0] == echoProgram {
		return true, answer(args[1])
	}
	if len(args) == 1 && args[0] == witnessProgram {
		return true, witness()
	}
	return false, nil
}

func relay(listen, next string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	in, err := l.Accept()
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	out, err := net.Dial("tcp", next)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	b := make([]byte, readBuffer)
	for {
		n, err := in.Read(b)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if _, err := out.Write(b[:n]); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
}

func answer(listen string) error {
	const body = `{"message":"Payload sent successfully","userId":"user_123","topic":"bench","sockets":1,"offset":"1763846400000-1234567"}`
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.POST("/sendPayload", func(c echo.Context) error {
		if _, err := io.Copy(io.Discard, c.Request().Body); err != nil {
			return err
		}
		return c.JSONBlob(http.StatusOK, []byte(body))
	})
	return e.Start(listen)
}
