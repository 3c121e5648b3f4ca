package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// backup is a copy of a stream, as `nats stream backup` makes it.
type backup struct {
	name   string
	about  aboutStream
	chunks [][]byte
}

// aboutStream is what the server must be told to restore it.
type aboutStream struct {
	Config json.RawMessage `json:"config"`
	State  json.RawMessage `json:"state"`
}

const chunkLimit = 5 * time.Second

func backUp(ctx context.Context, nc *nats.Conn, name string) (*backup, error) {
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("back up: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	b := &backup{name: name}
	answer, err := call(nc, "$JS.API.STREAM.SNAPSHOT."+name, map[string]any{"deliver_subject": inbox, "no_consumers": true})
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(answer, &b.about); err != nil {
		return nil, fmt.Errorf("back up: %w", err)
	}
	for {
		chunk, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, fmt.Errorf("back up: %w", err)
		}
		if len(chunk.Data) == 0 {
			return b, nil
		}
		b.chunks = append(b.chunks, chunk.Data)
		if chunk.Reply == "" {
			continue // not every chunk is to be acknowledged
		}
		if err := chunk.Respond(nil); err != nil {
			return nil, fmt.Errorf("back up: %w", err)
		}
	}
}

// restore puts the copy in the place of the stream, which must not exist.
func (b *backup) restore(nc *nats.Conn) error {
	answer, err := call(nc, "$JS.API.STREAM.RESTORE."+b.name, b.about)
	if err != nil {
		return err
	}
	var to struct {
		DeliverSubject string `json:"deliver_subject"`
	}
	if err := json.Unmarshal(answer, &to); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	for _, chunk := range b.chunks {
		if _, err := nc.Request(to.DeliverSubject, chunk, chunkLimit); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	_, err = call(nc, to.DeliverSubject, nil)
	return err
}

// call asks the JetStream API.
func call(nc *nats.Conn, subject string, request any) (json.RawMessage, error) {
	var body []byte
	if request != nil {
		var err error
		if body, err = json.Marshal(request); err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
	}
	answer, err := nc.Request(subject, body, chunkLimit)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", subject, err)
	}
	var failed struct{ Error *struct{ Description string } }
	if err := json.Unmarshal(answer.Data, &failed); err != nil {
		return nil, fmt.Errorf("ask %s: %w", subject, err)
	}
	if failed.Error != nil {
		return nil, fmt.Errorf("ask %s: %s", subject, failed.Error.Description)
	}
	return answer.Data, nil
}
