package store_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/store"
	"github.com/codewar/socketbridge/store/redistest"
)

// BenchmarkLocate looks up users with one socket each, in batches as the router has them: of few
// users under load and of many. One operation is one user.
func BenchmarkLocate(b *testing.B) {
	b.Run("memory", func(b *testing.B) {
		benchLocate(b, store.NewMemory(store.Limits{NodeLease: time.Hour}).Node("a"), nil, 200, 200)
	})
	for name, size := range map[string][2]int{"few": {200, 200}, "many": {10_000, 1000}} {
		b.Run(name, func(b *testing.B) {
			server := redistest.Server(b)
			benchLocate(b, benchRedis(b, server), server, size[0], size[1])
		})
	}
}

func benchRedis(b *testing.B, server *redistest.Redis) *store.Redis {
	r, err := store.OpenRedis(b.Context(), store.Config{Addrs: []string{server.Addr}, Timeout: 10 * time.Second},
		store.Limits{NodeLease: time.Hour}, "a", slog.New(slog.DiscardHandler))
	must(b, err)
	b.Cleanup(func() { _ = r.Close() })
	return r
}

func benchLocate(b *testing.B, s bridge.Store, server *redistest.Redis, crowd, batch int) {
	ctx := b.Context()
	must(b, second(s.Beat(ctx)))
	users := make([]bridge.UserID, crowd)
	for i := range users {
		users[i] = bridge.UserID(fmt.Sprint("user_", i))
		must(b, second(s.Register(ctx, bridge.Registration{User: users[i], Socket: bridge.SocketID(fmt.Sprintf("Hk3nVw8Xb2-%09d", i)), Token: "t"})))
	}
	b.ReportAllocs()
	var before, serverBefore time.Duration
	if server != nil {
		before, serverBefore = cpuSelf(b), cpuOf(b, server.PID())
	}
	b.ResetTimer()
	n := 0
	for ; n < b.N; n += batch {
		from := n % (crowd - batch + 1)
		if found := s.Locate(ctx, users[from:from+batch]); found[0].Err != nil || len(found[0].Sockets) != 1 {
			b.Fatalf("Locate: %+v", found[0])
		}
	}
	b.StopTimer()
	if server != nil {
		b.ReportMetric(float64((cpuSelf(b)-before).Nanoseconds())/1000/float64(n), "client-µs/user")
		b.ReportMetric(float64((cpuOf(b, server.PID())-serverBefore).Nanoseconds())/1000/float64(n), "redis-µs/user")
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
			reg := bridge.Registration{User: bridge.UserID(rand.Text()), Socket: "s", Token: "t", PID: "p" + strconv.Itoa(i)}
			if _, err := r.Register(b.Context(), reg); err != nil {
				b.Error(err)
			}
			if err := r.Unregister(b.Context(), reg, bridge.Delivered{}); err != nil {
				b.Error(err)
			}
		}
	})
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
