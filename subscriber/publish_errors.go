package subscriber

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

// errDenied means that the permissions of this client do not cover a subject.
var errDenied = errors.New("no permission to publish")

// classify adds to the error of a publication whether a retry of the same message can
// help: [bridge.ErrRefused], [bridge.ErrNotNow], or neither when NATS did not answer.
func classify(err error) error {
	switch api := apiError(err); {
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: %w", bridge.ErrRefused, bridge.ErrTooLarge)
	case errors.Is(err, errDenied), errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrHeadersNotSupported), errors.Is(err, nats.ErrBadHeaderMsg),
		errors.Is(err, jetstream.ErrInvalidSubject):
		return fmt.Errorf("%w: %w", bridge.ErrRefused, err)
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return fmt.Errorf("%w: %w", bridge.ErrNotNow, err) // the stream is missing and is created again
	case api == nil:
		return err
	case permanent(api):
		return fmt.Errorf("%w: %w", bridge.ErrRefused, err)
	default:
		return fmt.Errorf("%w: %w", bridge.ErrNotNow, err)
	}
}

// apiError returns JetStream's answer in err, nil when there is none.
func apiError(err error) *jetstream.APIError {
	if answer, ok := errors.AsType[jetstream.JetStreamError](err); ok {
		return answer.APIError()
	}
	return nil
}

// Error codes of JetStream, from its list of errors, that the client library does not name.
const (
	codeAccountResources = 10002 // the account's storage is used up
	codeStoreFailed      = 10077 // the disk, or a limit of a stream that discards new messages
	codeRollupFailed     = 10111
	codeStreamNotValid   = 10096
)

// discardNew are the descriptions under codeStoreFailed of a stream that is full and discards
// new messages. They have no code of their own.
var discardNew = []error{server.ErrMaxMsgs, server.ErrMaxBytes, server.ErrMaxMsgsPerSubject, server.ErrMsgTooLarge}

// permanent reports whether JetStream answers the same message with the same error until the stream's
// configuration changes. Codes 409, 429 and 5xx describe the state of the server, other 4xx codes the
// request; the exceptions are listed.
func permanent(e *jetstream.APIError) bool {
	switch e.ErrorCode {
	case codeStoreFailed:
		for _, full := range discardNew {
			if strings.Contains(e.Description, full.Error()) {
				return true
			}
		}
		return false
	case codeAccountResources, jetstream.JSErrCodeStreamNotFound:
		return false
	case codeRollupFailed, codeStreamNotValid:
		return true
	}
	return e.Code >= 400 && e.Code < 500 && e.Code != 409 && e.Code != 429
}

// denials ends publications that wait for a PubAck, when NATS has dropped them because the
// client may not publish to their subject. The server reports that separately from the publication. So
// without denials they would time out, as if NATS were not available. Safe for concurrent use.
type denials struct {
	mu      sync.Mutex               // guards waiting
	waiting map[string][]func(error) // by subject
}

// expect calls denied when NATS reports that subject is not permitted, until end is called.
func (d *denials) expect(subject string, denied func(error)) (end func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting == nil {
		d.waiting = make(map[string][]func(error))
	}
	d.waiting[subject] = append(d.waiting[subject], denied)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		// It does not matter which entry of the subject is removed: a report is for all of them, and
		// publications that have ended ignore it.
		if rest := d.waiting[subject]; len(rest) > 1 {
			d.waiting[subject] = rest[1:]
		} else {
			delete(d.waiting, subject)
		}
	}
}

// deniedSubject finds the subject in the text of the server's report, which has no field for it.
var deniedSubject = regexp.MustCompile(`(?i)permissions violation for publish to "([^"]+)"`)

// report handles each error that the client library reports on its own.
func (d *denials) report(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	found := deniedSubject.FindStringSubmatch(err.Error())
	if found == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, denied := range d.waiting[found[1]] {
		denied(errDenied)
	}
}
