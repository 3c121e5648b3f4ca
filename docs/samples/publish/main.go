// Publish sends one message and waits until the stream has it and until it is known what
// became of it: go run . nats://127.0.0.1:4222 user_123 sub_456
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: publish URL USER SUBMISSION")
	}
	if err := publish(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}

func publish(url, user, submission string) error {
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	inbox := nc.NewRespInbox()
	receipts, err := nc.SubscribeSync(inbox)
	if err != nil {
		return fmt.Errorf("listen for the receipt: %w", err)
	}
	body, err := json.Marshal(map[string]string{"userId": user, "submissionId": submission, "status": "ACCEPTED"})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	message := &nats.Msg{Subject: "codewar.evaluationComplete", Data: body, Header: nats.Header{
		nats.MsgIdHdr:    {submission + ":ACCEPTED"}, // the same for every try: stored once
		"Bridge-Receipt": {inbox},
	}}

	// Publishing again is safe because of the id.
	var ack *jetstream.PubAck
	for wait := 250 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		ack, err = js.PublishMsg(ctx, message)
		cancel()
		if err == nil {
			break
		}
		log.Printf("not stored yet: %v", err)
		time.Sleep(wait)
	}
	if ack.Duplicate {
		return nil // one that was stored before has had its receipt
	}
	receipt, err := receipts.NextMsg(10 * time.Second)
	if err != nil {
		return fmt.Errorf("stored as %d, no receipt: %w", ack.Sequence, err)
	}
	fmt.Println(string(receipt.Data)) // {"outcome":"pushed","sockets":1,…}
	return nil
}
