package observe

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge/certtest"
	"github.com/codewar/socketbridge/e2e/procs"
)

// onlyInUnitTests are alerts whose fault is a bug that nobody knows: promtool has their
// tests, in alerts_test.yml.
var onlyInUnitTests = []string{"BridgeBug"}

// handshake is where a page connects.
const handshake = "/socket.io/?EIO=4&transport=websocket"

// observation is the test as it goes on.
type observation struct {
	*testing.T
	cluster *cluster
	prom    prometheus
	fired   map[string]bool
}

// TestObserve: rules and dashboard load; while nothing is wrong every panel has data
// and no alert fires; each fault makes its alerts fire, and only when it is there.
func TestObserve(t *testing.T) {
	prometheus := needs(t, "prometheus")
	needs(t, "redis-server")
	c := startCluster(t)
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(func() { stop(); c.tasks.Wait() })
	c.work(ctx)
	o := &observation{T: t, cluster: c, fired: make(map[string]bool)}
	o.prom = startPrometheus(t, c.dir, prometheus, []string{c.bridges[0].ops, c.bridges[1].ops})

	o.healthy()
	o.clients()
	o.intakeHeld()
	o.storeStalls()
	o.leaderFlaps()
	o.busGone()
	o.nodeGone()
	o.allGone()

	want := slices.DeleteFunc(readRules(t).alerts(), func(name string) bool { return slices.Contains(onlyInUnitTests, name) })
	slices.Sort(want)
	maps.DeleteFunc(o.fired, func(_ string, fired bool) bool { return !fired })
	if got := slices.Sorted(maps.Keys(o.fired)); !slices.Equal(want, got) {
		t.Errorf("fired: %q\nthere are: %q", got, want)
	}
	for _, name := range onlyInUnitTests {
		if !strings.Contains(read(t, deployed("prometheus/alerts_test.yml")), "alertname: "+name) {
			t.Errorf("%s has no test in alerts_test.yml", name)
		}
	}
}

// healthy waits until everything has been asked for long enough, and sees that all is
// well and every panel has data.
func (o *observation) healthy() {
	o.Helper()
	d := readDashboard(o.T)
	err := procs.WaitFor("every panel has data", 45*time.Second, func() string {
		var missing []string
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				all, strange, err := o.prom.series(filled(q.Expr))
				if err != nil || all == 0 || all == strange && !mayBeNothing(q.Expr) {
					missing = append(missing, fmt.Sprintf("%s: %s: %d series, %d of them no number, %v", p.Title, q.Expr, all, strange, err))
				}
			}
		}
		return strings.Join(missing, "\n")
	})
	if err != nil {
		o.Error(err)
	}
	got, want := o.prom.loaded(o.T), readRules(o.T).alerts()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		o.Errorf("rules loaded: %q, want %q", got, want)
	}
	if firing := o.prom.firing(o.T); len(firing) > 0 {
		o.Errorf("fires while all is well: %v", firing)
	}
}

// mayBeNothing are the queries for a percentile of what has not happened: of
// connections that ended there are none while everybody stays.
func mayBeNothing(expr string) bool {
	return strings.Contains(expr, "bridge_gateway_connection_seconds")
}

// fault makes alerts fire: they are quiet before it begins, and fire after.
func (o *observation) fault(what string, begin func(), alerts ...string) {
	o.Helper()
	before := o.prom.firing(o.T)
	for _, name := range alerts {
		if len(before[name]) > 0 && !o.fired[name] {
			o.Errorf("%s fires before %s: %v", name, what, before[name])
		}
	}
	began, waiting := time.Now(), slices.Clone(alerts)
	begin()
	err := procs.WaitFor(what+" makes them fire", 40*time.Second, func() string {
		firing := o.prom.firing(o.T)
		waiting = slices.DeleteFunc(waiting, func(name string) bool {
			fires := len(firing[name]) > 0
			o.fired[name] = o.fired[name] || fires
			return fires
		})
		return strings.Join(waiting, ", ")
	})
	if err != nil {
		o.Error(err)
	}
	o.Logf("%s: %s after %v", what, strings.Join(alerts, ", "), time.Since(began).Round(100*time.Millisecond))
}

// clients are faults that clients make, and a Redis that fills: one does not disturb the other.
func (o *observation) clients() {
	c := o.cluster
	during, stop := context.WithCancel(c.load)
	defer stop()
	c.fillRedis(o.T)
	o.fault("poison, a flood, pages that do not read, a network that flaps, a Redis that fills", func() {
		for range 30 {
			_ = c.bus.Publish("codewar.submissionUpdate", []byte(`{"status":"for nobody"}`))
		}
		c.tasks.Go(func() { o.flood(during) })
		for range 15 {
			p := &page{addr: c.bridges[0].addr, user: "deaf", deaf: true}
			c.tasks.Go(func() { p.run(during) })
		}
		c.tasks.Go(func() {
			left := 150 // or Redis is full in earnest
			every(during, 50*time.Millisecond, func() {
				if left--; left >= 0 {
					c.publish("customRunComplete", "deaf", strings.Repeat("x", 60_000))
				}
			})
		})
		c.tasks.Go(func() {
			every(during, time.Second, func() {
				for _, p := range c.pages {
					p.kick()
				}
			})
		})
	}, "BridgeDeadLetters", "BridgeRefusingClients", "BridgeSlowClients", "BridgeReconnectStorm", "BridgeRedisMemory")
	c.say(o.T, "config", "set", "maxmemory", "0")
	c.say(o.T, "del", "filler")
}

// flood tries to connect from one address, far more often than it may.
func (o *observation) flood(ctx context.Context) {
	every(ctx, 10*time.Millisecond, func() {
		_, res, err := dialer.DialContext(ctx, "ws://"+o.cluster.bridges[1].addr+handshake, http.Header{"X-Forwarded-For": {"203.0.113.7"}})
		if err != nil && res != nil {
			_ = res.Body.Close()
		}
	})
}

// intakeHeld: the stream of dead letters is gone and cannot be made anew, because another one has
// a subject of it. So the leader holds what comes behind an invalid message and gets behind; when
// it can be made messages come late.
func (o *observation) intakeHeld() {
	c := o.cluster
	js, err := jetstream.New(c.bus)
	must(o.T, err)
	o.fault("dead letters that nats does not take", func() {
		must(o.T, js.DeleteStream(c.load, "BRIDGE_DEAD"))
		must(o.T, second(js.CreateStream(c.load, jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"bridge.dead.OTHER"}})))
		_ = c.bus.Publish("codewar.submissionUpdate", []byte(`{"status":"for nobody"}`))
		for range 3000 {
			c.publish("submissionUpdate", user(0), "")
		}
	}, "BridgeIntakeLags", "BridgePayloadErrors", "BridgeNotReady", "BridgeCanaryMissed")
	o.fault("dead letters that it takes again", func() { must(o.T, js.DeleteStream(c.load, "OTHER")) }, "BridgePushSlow")
}

func second[T any](_ T, err error) error { return err }

func (o *observation) storeStalls() {
	redis := o.cluster.redis
	o.fault("a Redis that stalls", func() { must(o.T, redis.Signal(syscall.SIGSTOP)) }, "BridgeNotReady", "BridgeStoreErrors")
	must(o.T, redis.Signal(syscall.SIGCONT))
	o.recovered()
	o.fault("a Redis that is emptied", func() { o.cluster.say(o.T, "flushall") }, "BridgeRedisWentBack")
	o.recovered()
}

// leaderFlaps: another program writes the lease again and again.
func (o *observation) leaderFlaps() {
	during, stop := context.WithCancel(o.cluster.load)
	defer stop()
	o.fault("a lease that another program writes", func() {
		o.cluster.tasks.Go(func() {
			every(during, 1200*time.Millisecond, func() { _ = o.cluster.bus.Publish("$KV.BRIDGE_LEASE.leader", []byte("{}")) })
		})
	}, "BridgeLeaderFlaps")
}

func (o *observation) busGone() {
	nats := o.cluster.nats
	o.recovered()
	o.fault("a NATS that is gone", nats.Kill, "BridgeNotReady", "BridgeNoLeader")
	must(o.T, nats.Start())
	o.recovered()
}

// nodeGone: a node is killed, and comes back with an old certificate and few files.
func (o *observation) nodeGone() {
	c, b := o.cluster, o.cluster.bridges[1]
	o.fault("a node that is gone", b.Kill, "BridgeNodeDown")
	pair := certtest.New(o.T).IssueFor("bridge", 72*time.Hour)
	b.Env = append(b.Env, "HTTP_TLS_CERT="+pair.Cert, "HTTP_TLS_KEY="+pair.Key, "OPS_MAX_CONNECTIONS=20")
	b.Path, b.Args = "/bin/sh", []string{"-c", "ulimit -n 1000 && exec " + b.Path}
	must(o.T, b.Start())
	must(o.T, b.ready())
	during, stop := context.WithCancel(c.load)
	defer stop()
	o.fault("an old certificate, and few files", func() {
		for b.metric("process_open_fds") < 820 {
			for range 20 {
				ws, res, err := dialer.DialContext(during, "wss://"+b.addr+handshake, nil)
				must(o.T, err)
				_ = res.Body.Close()
				o.hold(during, ws)
			}
		}
	}, "BridgeCertificateExpires", "BridgeFileDescriptors")
}

// hold keeps a connection until ctx ends.
func (o *observation) hold(ctx context.Context, ws *websocket.Conn) {
	o.cluster.tasks.Go(func() {
		<-ctx.Done()
		_ = ws.Close()
	})
}

// allGone: nobody is left, and what was published meanwhile is purged before anybody is back.
func (o *observation) allGone() {
	c := o.cluster
	o.fault("no node at all", func() {
		for _, n := range c.bridges {
			n.Kill()
		}
	}, "BridgeDown")
	must(o.T, c.stream(o.T).Purge(o.Context()))
	o.fault("a stream that was purged before it was read", func() { must(o.T, c.bridges[0].Start()) }, "BridgeMessagesLost")
}

// recovered waits until somebody leads and everybody is ready.
func (o *observation) recovered() {
	o.Helper()
	for _, n := range o.cluster.bridges {
		must(o.T, n.ready())
	}
	must(o.T, procs.WaitFor("somebody leads", procs.StartLimit, func() string {
		for _, n := range o.cluster.bridges {
			if n.metric("bridge_leader") == 1 {
				return ""
			}
		}
		return "nobody does"
	}))
}
