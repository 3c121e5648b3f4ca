package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/e2e/procs"
)

// relays is how many processes a message passes on its way through the bridge: NATS,
// the bridge, Redis, the bridge again.
const relays = 4

// floor is what was measured of a program that does the least.
type floor struct {
	messages  uint64
	took      time.Duration
	cpu       time.Duration // of one process
	latencies latencies
}

func (f *floor) perSecond() float64 { return float64(f.messages) / f.took.Seconds() }

func (f *floor) each() float64 { return f.cpu.Seconds() * 1e6 / float64(f.messages) }

// startFloor runs this program again as one that does the least.
func (l *lab) startFloor(name string, args ...string) (*procs.Process, error) {
	return l.startRole(name, nil, args...)
}

// startRole runs this program again in another role.
func (l *lab) startRole(name string, env []string, args ...string) (*procs.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	l.stage++
	p := &procs.Process{Name: name, Dir: filepath.Join(l.dir, fmt.Sprintf("%02d-%s", l.stage, name)), Path: self, Args: args, Env: procs.Environment(env...)}
	if err := os.MkdirAll(p.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	return p, p.Start()
}

func freeAddr() (string, error) {
	port, err := procs.FreePort()
	return "127.0.0.1:" + port, err
}

// runRelays sends messages at the fixed rate through processes that only pass them on.
func runRelays(ctx context.Context, l *lab) (*floor, error) {
	end, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	defer func() { _ = end.Close() }()
	next := end.Addr().String()
	var chain []*procs.Process
	defer func() {
		for _, p := range chain {
			p.Kill()
		}
	}()
	for range relays {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		p, err := l.startFloor(relayProgram, relayProgram, addr, next)
		if p != nil {
			chain = append(chain, p)
		}
		if err != nil {
			return nil, err
		}
		next = addr
	}
	out, err := dialSoon(next)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()
	in, err := end.Accept()
	if err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	defer func() { _ = in.Close() }()

	f := &floor{latencies: newLatencies()}
	sent, received := make(chan uint64, 1), make(chan error, 1)
	go func() { received <- f.receive(in, sent) }()
	during, cancel := context.WithTimeout(ctx, l.scale.pace)
	defer cancel()
	message := make([]byte, smallBody)
	n := uint64(0)
	err = onSchedule(during, rate, func(_ int, due time.Duration) error {
		n++
		binary.LittleEndian.PutUint64(message, uint64(due))
		_, err := out.Write(message)
		return err
	})
	sent <- n
	if err := errors.Join(err, <-received, ctx.Err()); err != nil {
		return nil, fmt.Errorf("pass messages on: %w", err)
	}
	f.messages, f.took = n, l.scale.pace
	f.cpu, err = cpuOf(chain[0].PID())
	return f, err
}

// receive reads messages until as many have come as were sent.
func (f *floor) receive(in net.Conn, sent <-chan uint64) error {
	message := make([]byte, smallBody)
	for n, all := uint64(0), uint64(0); all == 0 || n < all; {
		select {
		case all = <-sent:
			_ = in.SetReadDeadline(time.Now().Add(patience))
			continue
		default:
		}
		if _, err := io.ReadFull(in, message); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		f.latencies.record(now() - time.Duration(binary.LittleEndian.Uint64(message)))
		n++
	}
	return nil
}

// runStream publishes at the fixed rate into a stream and reads it back as the bridge
// does, with nothing between.
func runStream(ctx context.Context, l *lab) (*floor, error) {
	l.stage++
	dir := filepath.Join(l.dir, fmt.Sprintf("%02d-stream", l.stage))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	server, url, err := procs.StartNATS(dir, l.nats)
	if server != nil {
		defer server.Kill()
	}
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(url)
	if err != nil {
		return nil, fmt.Errorf("connect to nats: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open jetstream: %w", err)
	}
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "FLOOR", Subjects: []string{"codewar.>"}})
	if err != nil {
		return nil, fmt.Errorf("create stream: %w", err)
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, fmt.Errorf("create consumer: %w", err)
	}
	f := &floor{latencies: newLatencies()}
	var received atomic.Uint64
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		f.latencies.record(now() - time.Duration(binary.LittleEndian.Uint64(m.Data())))
		received.Add(1)
	})
	if err != nil {
		return nil, fmt.Errorf("consume: %w", err)
	}
	defer consuming.Stop()
	before, err := cpuOf(server.PID())
	if err != nil {
		return nil, err
	}
	during, cancel := context.WithTimeout(ctx, l.scale.pace)
	defer cancel()
	message := make([]byte, smallBody)
	reply := nats.NewInbox() // acknowledged as in `durable`, to nobody
	err = onSchedule(during, rate, func(_ int, due time.Duration) error {
		f.messages++
		binary.LittleEndian.PutUint64(message, uint64(due))
		return nc.PublishRequest(subject, reply, message)
	})
	if err := errors.Join(err, ctx.Err()); err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	if err := procs.WaitFor("all messages", patience, func() string {
		if n := received.Load(); n < f.messages {
			return fmt.Sprintf("%d of %d", n, f.messages)
		}
		return ""
	}); err != nil {
		return nil, err
	}
	f.took = l.scale.pace
	after, err := cpuOf(server.PID())
	f.cpu = after - before
	return f, err
}

// runEcho has the callers of `http` call a handler that does nothing.
func runEcho(ctx context.Context, l *lab) (*floor, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	p, err := l.startFloor(echoProgram, echoProgram, addr)
	if p != nil {
		defer p.Kill()
	}
	if err != nil {
		return nil, err
	}
	probe, err := dialSoon(addr)
	if err != nil {
		return nil, err
	}
	_ = probe.Close()
	h, err := dialHTTP(addr, &window{}, newMill(fewUsers, smallBody), callers)
	if err != nil {
		return nil, err
	}
	defer h.close()
	before, err := cpuOf(p.PID())
	if err != nil {
		return nil, err
	}
	f := &floor{latencies: newLatencies()}
	during, cancel := context.WithTimeout(ctx, l.scale.flood)
	defer cancel()
	began := now()
	if err := errors.Join(h.flood(during), ctx.Err()); err != nil {
		return nil, err
	}
	f.messages, f.took = h.published.Load(), now()-began
	after, err := cpuOf(p.PID())
	f.cpu = after - before
	return f, err
}

// dialSoon connects to a program that has just been started.
func dialSoon(addr string) (conn net.Conn, err error) {
	err = procs.WaitFor(addr+" answers", procs.StartLimit, func() string {
		if conn, err = net.Dial("tcp", addr); err != nil {
			return err.Error()
		}
		return ""
	})
	return conn, err
}
