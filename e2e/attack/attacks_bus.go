package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// busMoves are those of programs that are connected to NATS, each as one of the users that
// deploy/ defines.
var busMoves = []move{
	{"hostile publisher", func(ctx context.Context, p *peer) error {
		return p.onBus(ctx, "publisher", func(nc *nats.Conn, _ chan error) error {
			m := hostileMessages[rand.IntN(len(hostileMessages))]()
			if err := nc.PublishMsg(m); err != nil {
				return err
			}
			return nc.FlushTimeout(patience)
		})
	}},
	{"raw publisher", func(ctx context.Context, p *peer) error {
		blocks := []string{"NATS/1.0 503\r\n\r\n", "NATS/1.0 100 Idle Heartbeat\r\n\r\n", "NATS/1.0\r\na b: c\r\n\r\n", "NATS/1.0\r\n: x\r\n\r\n", "NATS/1.0\r\nnothing\r\n\r\n", "x\r\n\r\n"}
		return p.rawOnBus(ctx, "codewar.note", blocks[rand.IntN(len(blocks))], `{"userId":"nobody here"}`)
	}},
	{"publisher's limits", func(ctx context.Context, p *peer) error {
		return p.forbidden(ctx, "publisher", "bridge.codewar.node.open", "bridge.codewar.resigned", "bridge.dead.X", "$KV.BRIDGE_LEASE.leader",
			"$JS.API.STREAM.PURGE.CODEWAR", "$JS.API.STREAM.DELETE.CODEWAR", "$JS.API.STREAM.MSG.GET.CODEWAR", "_INBOX.bridge.x")
	}},
	{"operator's limits", func(ctx context.Context, p *peer) error {
		return p.forbidden(ctx, "operator", "bridge.codewar.node.open", "bridge.codewar.resigned", "$KV.BRIDGE_LEASE.leader",
			"$JS.API.STREAM.PURGE.CODEWAR", "$JS.API.STREAM.DELETE.BRIDGE_DEAD", "_INBOX.bridge.x")
	}},
	{"garbage between nodes", func(ctx context.Context, p *peer) error {
		return p.onBus(ctx, "bridge", func(nc *nats.Conn, _ chan error) error {
			subjects := []string{"bridge.codewar.node.open", "bridge.codewar.node.guarded", "bridge.codewar.ask.open.users", "bridge.codewar.leader.x", "bridge.codewar.resigned"}
			body := make([]byte, rand.IntN(4096))
			for i := range body {
				body[i] = byte(rand.Uint32())
			}
			replies := []string{"", "codewar.note", "$JS.API.STREAM.PURGE.CODEWAR", "_INBOX.bridge.x", "bridge.dead.X"}
			if err := nc.PublishMsg(&nats.Msg{Subject: subjects[rand.IntN(len(subjects))], Reply: replies[rand.IntN(len(replies))], Data: body}); err != nil {
				return err
			}
			return nc.FlushTimeout(patience)
		})
	}},
}

// hostileMessages make what a publisher may send, and a bridge must not fall over.
var hostileMessages = []func() *nats.Msg{
	func() *nats.Msg { // its dead letter has more headers than JetStream takes
		m := &nats.Msg{Subject: "codewar.note", Data: []byte("no JSON"), Header: make(nats.Header)}
		for i := range 3300 {
			m.Header.Set(fmt.Sprintf("h%d", i), "v")
		}
		return m
	},
	func() *nats.Msg { return &nats.Msg{Subject: "codewar.note", Header: nats.Header{"Status": {"503"}}} },
	func() *nats.Msg { return &nats.Msg{Subject: "codewar.note", Header: nats.Header{"Status": {"100"}}} },
	func() *nats.Msg {
		return &nats.Msg{Subject: "codewar.connect", Data: []byte(`{"userId":"good-1"}`)}
	},
	func() *nats.Msg { return &nats.Msg{Subject: "codewar." + strings.Repeat("x", 3000)} },
	func() *nats.Msg {
		return &nats.Msg{Subject: "codewar.note", Data: []byte(strings.Repeat("[", 900_000))}
	},
	func() *nats.Msg {
		return &nats.Msg{Subject: "codewar.note", Data: []byte(`{"userId":"nobody here"}`), Header: nats.Header{"Bridge-Offline": {"drop", "x"}, "Bridge-Ack": {"never"}}}
	},
	func() *nats.Msg {
		to := []string{"$JS.API.STREAM.PURGE.CODEWAR", "codewar.note", "bridge.codewar.node.open", ">", "_INBOX.", "_INBOX.bridge.*", strings.Repeat("a.", 2000) + "a"}
		return &nats.Msg{Subject: "codewar.note", Data: []byte(`{"userId":"nobody here"}`), Header: nats.Header{"Bridge-Receipt": {to[rand.IntN(len(to))]}}}
	},
	func() *nats.Msg {
		return &nats.Msg{Subject: "codewar.note", Data: []byte(`{"userId":"nobody here"}`), Header: nats.Header{"Traceparent": {strings.Repeat("0", 30_000)}}}
	},
}

// onBus does something as one user. What NATS refuses arrives in the channel.
func (p *peer) onBus(ctx context.Context, user string, do func(*nats.Conn, chan error) error) error {
	refused := make(chan error, 16)
	nc, err := nats.Connect(p.NATS, nats.UserInfo(user, p.Passwords[user]), nats.CustomInboxPrefix("_INBOX."+user), nats.NoReconnect(), nats.Timeout(patience),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			select {
			case refused <- err:
			default:
			}
		}))
	if err != nil {
		return errBusy
	}
	stop := context.AfterFunc(ctx, nc.Close)
	defer func() { stop(); nc.Close() }()
	return do(nc, refused)
}

// forbidden publishes on one of the subjects, which NATS must refuse.
func (p *peer) forbidden(ctx context.Context, user string, subjects ...string) error {
	return p.onBus(ctx, user, func(nc *nats.Conn, refused chan error) error {
		subject := subjects[rand.IntN(len(subjects))]
		if err := nc.Publish(subject, []byte("{}")); err != nil {
			return err
		}
		select {
		case <-refused:
			return nil
		case <-ctx.Done():
			return nil
		case <-time.After(patience):
			return fmt.Errorf("%s may publish on %s", user, subject)
		}
	})
}

// rawOnBus publishes with a header block that a client library would not send.
func (p *peer) rawOnBus(ctx context.Context, subject, header, body string) error {
	nc, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", strings.TrimPrefix(p.NATS, "nats://"))
	if err != nil {
		return errBusy
	}
	defer func() { _ = nc.Close() }()
	_ = nc.SetDeadline(time.Now().Add(patience))
	from := bufio.NewReader(nc)
	if _, err := from.ReadString('\n'); err != nil { // INFO
		return fmt.Errorf("read from nats: %w", err)
	}
	text := fmt.Sprintf("CONNECT {\"verbose\":false,\"headers\":true,\"user\":\"publisher\",\"pass\":%q}\r\nHPUB %s %d %d\r\n%s%s\r\nPING\r\n",
		p.Passwords["publisher"], subject, len(header), len(header)+len(body), header, body)
	if _, err := nc.Write([]byte(text)); err != nil {
		return fmt.Errorf("write to nats: %w", err)
	}
	_, err = from.ReadString('\n') // PONG, or why not
	return err
}
