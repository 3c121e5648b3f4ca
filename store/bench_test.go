package store_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/bridge/bridgetest"
	"github.com/codewar/socketbridge/store"
	"github.com/codewar/socketbridge/store/redistest"
)

// crowd is who is appended for, and how many messages at a time.
type crowd struct{ users, batch int }

// BenchmarkAppend appends batches of messages of 200 bytes for users with one socket
// each: by script, as for users whom the leader does not know yet, and by
// heart, for few users under load and for many. One operation is one message.
func BenchmarkAppend(b *testing.B) {
	few, many := crowd{200, 256}, crowd{10_000, 1024}
	b.Run("memory", func(b *testing.B) {
		benchAppend(b, store.NewMemory(store.Limits{NodeLease: time.Hour}).Node("a"), nil, few)
	})
	b.Run("script", func(b *testing.B) {
		server := redistest.Server(b)
		benchAppend(b, benchRedis(b, server), server, few)
	})
	for name, c := range map[string]crowd{"leader": few, "leader_large_batch": {200, 4096}, "leader_many_users": many} {
		b.Run(name, func(b *testing.B) {
			server := redistest.Server(b)
			r := benchRedis(b, server)
			must(b, r.Claim(b.Context(), 1))
			benchAppend(b, r, server, c)
		})
	}
	b.Run("plain_pipeline", func(b *testing.B) { // what these are measured against: no marks, no order, no liveness
		server := redistest.Server(b)
		client := redis.NewClient(&redis.Options{Addr: server.Addr, Protocol: 2, ContextTimeoutEnabled: true})
		b.Cleanup(func() { _ = client.Close() })
		benchAppend(b, plain{benchRedis(b, server), client}, server, few)
	})
}

func benchRedis(b *testing.B, server *redistest.Redis) *store.Redis {
	r, err := store.OpenRedis(b.Context(), store.Config{Addrs: []string{server.Addr}, Timeout: 10 * time.Second},
		store.Limits{NodeLease: time.Hour}, "a", slog.New(slog.DiscardHandler))
	must(b, err)
	b.Cleanup(func() { _ = r.Close() })
	return r
}

func benchAppend(b *testing.B, s bridge.Store, server *redistest.Redis, c crowd) {
	ctx := b.Context()
	must(b, second(s.Beat(ctx)))
	users := make([]bridge.UserID, c.users)
	for i := range users {
		users[i] = bridge.UserID(fmt.Sprint("user_", i))
		must(b, second(s.Register(ctx, bridge.Registration{User: users[i], Socket: bridge.SocketID(fmt.Sprintf("Hk3nVw8Xb2-%09d", i)), Token: "t"})))
	}
	payload := bytes.Repeat([]byte("x"), 200)
	entries := make([]bridge.Entry, c.batch)
	envelopes := make([]bridge.Envelope, c.batch)
	seq := uint64(0)

	b.ReportAllocs()
	var before, serverBefore time.Duration
	if server != nil {
		before, serverBefore = cpuSelf(b), cpuOf(b, server.PID())
	}
	b.ResetTimer()
	for done := 0; done < b.N; done += c.batch {
		for i := range entries {
			seq++
			envelopes[i] = bridge.Envelope{User: users[(seq*7919)%uint64(c.users)], Topic: "submissionUpdate", Payload: payload, Offset: offset(seq)}
			entries[i].Envelope = &envelopes[i]
		}
		got, err := s.Append(ctx, entries)
		must(b, err)
		if len(got[0].Sockets) != 1 || got[0].Refused {
			b.Fatalf("Append: %+v", got[0])
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(seq)/b.Elapsed().Seconds(), "msg/s")
	if server != nil {
		b.ReportMetric(float64((cpuSelf(b)-before).Microseconds())/float64(seq), "client-µs/msg")
		b.ReportMetric(float64((cpuOf(b, server.PID())-serverBefore).Microseconds())/float64(seq), "redis-µs/msg")
	}
}

// BenchmarkRegister registers and removes sockets, each of another user, as a
// thousand pages do that come and leave. One operation is one socket's both.
func BenchmarkRegister(b *testing.B) {
	r := benchRedis(b, redistest.Server(b))
	must(b, second(r.Beat(b.Context())))
	b.ReportAllocs()
	b.SetParallelism(500) // times GOMAXPROCS
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			reg := bridge.Registration{User: bridge.UserID(rand.Text()), Socket: "s", Token: "t", PID: "p" + strconv.Itoa(i), Limit: 200}
			if _, err := r.Register(b.Context(), reg); err != nil {
				b.Error(err)
			}
			if err := r.Unregister(b.Context(), reg, bridge.Delivered{}); err != nil {
				b.Error(err)
			}
		}
	})
}

// plain appends with XADD, PEXPIRE and HGETALL in one pipeline, and checks nothing.
type plain struct {
	*store.Redis
	client *redis.Client
}

func (p plain) Append(ctx context.Context, entries []bridge.Entry) ([]bridge.Appended, error) {
	pipe := p.client.Pipeline()
	found := make([]*redis.MapStringStringCmd, len(entries))
	for i, e := range entries {
		pipe.XAdd(ctx, &redis.XAddArgs{Stream: "h:{" + string(e.User) + "}", MaxLen: 1000, Approx: true, ID: e.Offset.String(), Values: []any{"t", e.Topic, "d", e.Payload}})
		pipe.PExpire(ctx, "h:{"+string(e.User)+"}", 10*time.Minute)
		found[i] = pipe.HGetAll(ctx, "bridge:presence:{"+string(e.User)+"}")
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	out := make([]bridge.Appended, len(entries))
	for i, c := range found {
		for socket := range c.Val() {
			out[i].Sockets = append(out[i].Sockets, bridge.Presence{Socket: bridge.SocketID(socket)})
		}
	}
	return out, nil
}

// cpuSelf is the processor time that this process has used.
func cpuSelf(b *testing.B) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuOf is another process's, in steps of 10 ms.
func cpuOf(b *testing.B, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(b, err)
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	var ticks int
	for _, f := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(string(f))
		must(b, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// BenchmarkTracesOf searches half a million traces, all that are kept by default,
// for a user who has a hundred of them.
func BenchmarkTracesOf(b *testing.B) {
	const blocks, perBlock, users = 977, 512, 5000
	search := func(b *testing.B, s bridge.Store) {
		for block := range blocks {
			traces := make([]bridge.Trace, perBlock)
			for i := range traces {
				seq := block*perBlock + i
				traces[i] = bridge.Trace{
					Offset: bridge.Offset{Epoch: 1, Seq: uint64(seq)}, Subject: "codewar.submissionUpdate", User: bridge.UserID(fmt.Sprint("user_", seq%users)),
					Read: time.Now(), Settled: time.Now(), Outcome: bridge.Pushed,
					Tries: []bridge.Try{{Node: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", Took: 1, Sockets: []bridge.SocketID{"ABCDEFGHIJKLMNOPQRST"}}},
				}
			}
			if err := s.SaveTraces(b.Context(), []bridge.TraceBlock{bridge.NewTraceBlock(traces...)}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			for from := (bridge.Offset{Epoch: 1, Seq: blocks*perBlock - 1}); !from.IsZero(); {
				found, next, err := s.TracesOf(b.Context(), "user_7", from)
				if err != nil {
					b.Fatal(err)
				}
				n += len(found)
				from = next
			}
			if n != 101 {
				b.Fatalf("%d found", n)
			}
		}
	}
	b.Run("memory", func(b *testing.B) { search(b, store.NewMemory(store.Limits{}).Node("a")) })
	b.Run("redis", func(b *testing.B) { search(b, opener(b, redistest.Server(b), bridgetest.Limits{})("a")) })
}
