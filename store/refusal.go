package store

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

// errGarbage means that a value under our keys was not written by a bridge.
var errGarbage = errors.New("value of another program")

// refusals begin the errors of Redis that follow from what it has under a key, or from one
// value, and come again with each try: a key of another type, a value that exceeds
// proto-max-bulk-len, a script that cannot read what it finds. Every other error speaks of the
// server (OOM, LOADING, READONLY, CLUSTERDOWN) or of its configuration (NOPERM, unknown command),
// which ends when that does and concerns all messages alike.
var refusals = []string{"WRONGTYPE ", "ERR string exceeds maximum", "ERR user_script:", "ERR Error running script"}

// classify adds [bridge.ErrRefused] to an error that trying again does not cure.
func classify(err error) error {
	if errors.Is(err, errGarbage) || errors.Is(err, errAnswer) {
		return fmt.Errorf("%w: %w", bridge.ErrRefused, err)
	}
	if answer, ok := errors.AsType[redis.Error](err); ok {
		for _, prefix := range refusals {
			if strings.HasPrefix(answer.Error(), prefix) {
				return fmt.Errorf("%w: %w", bridge.ErrRefused, err)
			}
		}
	}
	return err
}
