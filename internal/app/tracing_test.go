package app_test

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	otlptraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/siotest"
	"github.com/codewar/socketbridge/internal/testutil/launch"
	"github.com/codewar/socketbridge/store/redistest"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

// seenSpan is a span as the collector got it.
type seenSpan struct {
	*otlp.Span
	node string
}

func (s seenSpan) id() string     { return hex.EncodeToString(s.SpanId) }
func (s seenSpan) parent() string { return hex.EncodeToString(s.ParentSpanId) }

func (s seenSpan) fact(key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return strings.Trim(strings.SplitN(a.Value.String(), ":", 2)[1], `"`)
		}
	}
	return ""
}

// otlpReceiver is a collector.
type otlpReceiver struct {
	*httptest.Server
	mu    sync.Mutex
	spans map[string][]seenSpan // by trace
}

func startReceiver(t testing.TB) *otlpReceiver {
	r := &otlpReceiver{spans: make(map[string][]seenSpan)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var export otlptraces.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &export)
		}
		if err != nil || req.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", req.URL, err)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, resource := range export.ResourceSpans {
			node := ""
			for _, a := range resource.Resource.Attributes {
				if a.Key == "service.instance.id" {
					node = a.Value.GetStringValue()
				}
			}
			for _, scope := range resource.ScopeSpans {
				for _, s := range scope.Spans {
					id := hex.EncodeToString(s.TraceId)
					r.spans[id] = append(r.spans[id], seenSpan{s, node})
				}
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(r.Close)
	return r
}

// trace waits until a trace has spans of these names, and returns them by name.
func (r *otlpReceiver) trace(t testing.TB, id string, names ...string) map[string]seenSpan {
	t.Helper()
	slices.Sort(names)
	var got []string
	for range 1000 {
		r.mu.Lock()
		spans := slices.Clone(r.spans[id])
		r.mu.Unlock()
		byName := make(map[string]seenSpan)
		got = nil
		for _, s := range spans {
			got = append(got, s.Name)
			byName[s.Name] = s
		}
		if slices.Sort(got); slices.Equal(got, names) {
			return byName
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("trace %s has the spans %q, want %q", id, got, names)
	return nil
}

const (
	someTrace   = "4bf92f3577b34da6a3ce929d0e0e47"
	callersSpan = "00f067aa0ba902b7"
)

func sampled(n int) (traceID, header string) {
	traceID = fmt.Sprintf("%s%02x", someTrace, n)
	return traceID, "00-" + traceID + "-" + callersSpan + "-01"
}

// TestTraces follows messages through two nodes: from an HTTP caller and from a
// publisher, to a page that is on the leader and to one that is not.
func TestTraces(t *testing.T) {
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
	receiver := startReceiver(t)
	redis, server := redistest.Server(t), natstest.Server(t)
	nodes := make(map[string]*program)
	for _, id := range []string{"a", "b"} {
		nodes[id] = startProgram(t, "--set", "ops.addr="+launch.FreeAddr(t), "--set", "node.id="+id, "--set", "nats.url="+server.URL(), "--set", "redis.addrs="+redis.Addr,
			"--set", "traces.endpoint="+receiver.URL, "--set", "canary.interval=0s")
	}
	leader, other := "a", "b"
	nodes[leader].metric(t, "bridge_leader 1")
	pages := make(map[string]*siotest.Client)
	for _, id := range []string{leader, other} {
		pages[id] = siotest.Dial(t, nodes[id].URL, siotest.Options{Transports: []string{"websocket"}, Auth: map[string]any{"trace": true}})
		pages[id].EmitWithAck("setUserId", "on_"+id)
	}
	plain := siotest.Dial(t, nodes[other].URL, siotest.Options{Transports: []string{"websocket"}})
	plain.EmitWithAck("setUserId", "on_"+other)

	// A node's first forward shows it a new leader, so its pages replay once.
	for id, p := range pages {
		nodes[id].postTraced(t, `{"userId":"on_`+id+`","topic":"first"}`, "")
		p.EventNamed("first")
	}

	// An HTTP call to the node that does not lead, for a page there: the message goes to the leader and back.
	id, header := sampled(1)
	res := nodes[other].postTraced(t, `{"userId":"on_`+other+`","topic":"verdict","n":1}`, header)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("status %d", res.StatusCode)
	}
	spans := receiver.trace(t, id, "sendPayload", "publish", "deliver", "read", "store", "forward", "push")
	for child, parent := range map[string]string{"publish": "sendPayload", "deliver": "publish", "read": "deliver", "store": "deliver", "forward": "deliver", "push": "forward"} {
		if got, want := spans[child].parent(), spans[parent].id(); got != want {
			t.Errorf("%s has the parent %s, want %s (%s)", child, got, want, parent)
		}
	}
	if got := spans["sendPayload"].parent(); got != callersSpan {
		t.Errorf("sendPayload has the parent %s, want the caller's", got)
	}
	for name, node := range map[string]string{"sendPayload": other, "publish": other, "deliver": leader, "read": leader, "store": leader, "forward": leader, "push": other} {
		if spans[name].node != node {
			t.Errorf("%s was on node %s, want %s", name, spans[name].node, node)
		}
	}
	inOrder := []uint64{
		spans["publish"].StartTimeUnixNano, spans["deliver"].StartTimeUnixNano, spans["read"].EndTimeUnixNano, spans["store"].EndTimeUnixNano,
		spans["forward"].StartTimeUnixNano, spans["push"].StartTimeUnixNano, spans["push"].EndTimeUnixNano, spans["forward"].EndTimeUnixNano,
		spans["deliver"].EndTimeUnixNano, spans["publish"].EndTimeUnixNano, spans["sendPayload"].EndTimeUnixNano,
	}
	if !slices.IsSorted(inOrder) {
		t.Errorf("times are not in order: %v", inOrder)
	}
	if spans["read"].StartTimeUnixNano != spans["deliver"].StartTimeUnixNano || spans["read"].EndTimeUnixNano != spans["store"].StartTimeUnixNano {
		t.Error("read and store are not the first steps of deliver")
	}
	if d := spans["deliver"]; d.fact("outcome") != "pushed" || d.fact("sockets") != "2" || d.fact("user") != "on_"+other || spans["sendPayload"].fact("status") != "200" {
		t.Errorf("facts of deliver: %v, of sendPayload: %v", d.Attributes, spans["sendPayload"].Attributes)
	}
	event := pages[other].EventNamed("verdict")
	if d := cmp.Diff([]string{`{"n":1}`, `{"traceparent":"00-` + id + `-` + spans["push"].id() + `-01"}`}, texts3(event)); d != "" {
		t.Errorf("the page that asked (-want +got):\n%s", d)
	}
	if event := plain.EventNamed("verdict"); len(event.Args) != 2 || string(event.Args[1])[0] != '"' {
		t.Errorf("the page that did not ask got %s", event.Raw)
	}

	// A publisher's, for a page on the leader: there is nothing to forward.
	nc, err := nats.Connect(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	publish := func(user, header, ack, body string) {
		t.Helper()
		m := &nats.Msg{Subject: "codewar.verdict", Header: nats.Header{}, Data: fmt.Appendf(nil, `{"userId":%q,%s}`, user, body)}
		if header != "" {
			m.Header.Set(bridge.HeaderTraceparent, header)
		}
		if ack != "" {
			m.Header.Set(bridge.HeaderAck, ack)
		}
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	id, header = sampled(2)
	publish("on_"+leader, header, "", `"n":2`)
	spans = receiver.trace(t, id, "deliver", "read", "store", "push")
	if spans["deliver"].parent() != callersSpan || spans["push"].parent() != spans["deliver"].id() {
		t.Errorf("parents: deliver %s, push %s", spans["deliver"].parent(), spans["push"].parent())
	}
	pages[leader].EventNamed("verdict")

	// Pages are to confirm: push lasts until they have.
	id, header = sampled(3)
	publish("on_"+other, header, bridge.AckClient, `"n":3`)
	spans = receiver.trace(t, id, "deliver", "read", "store", "forward", "push")
	if event := pages[other].EventNamed("verdict"); len(event.Args) != 2 || !strings.Contains(string(event.Args[1]), spans["push"].id()) {
		t.Errorf("an event to confirm: %s", event.Raw)
	}

	// Poison is followed too.
	id, header = sampled(4)
	publish("bad\nuser", header, "", `"n":4`)
	if got := receiver.trace(t, id, "deliver")["deliver"]; got.fact("outcome") != "dead" {
		t.Errorf("facts of poison: %v", got.Attributes)
	}

	// Neither one that was decided against nor one that nobody decided about.
	_, header = sampled(5)
	publish("on_"+leader, strings.TrimSuffix(header, "1")+"0", "", `"n":5`)
	publish("on_"+leader, "", "", `"n":6`)
	if res := nodes[other].postTraced(t, `{"userId":"on_`+leader+`","topic":"verdict","n":7}`, ""); res.StatusCode != http.StatusOK {
		t.Fatalf("status %d", res.StatusCode)
	}
	for n := 5; n <= 7; n++ {
		if event := pages[leader].EventNamed("verdict"); string(event.Args[0]) != fmt.Sprintf(`{"n":%d}`, n) || len(event.Args) != 2 {
			t.Errorf("message %d: %s", n, event.Raw)
		}
	}
	for _, p := range nodes {
		p.Stop()
		<-p.Status // what was left is sent
	}
	receiver.mu.Lock()
	defer receiver.mu.Unlock()
	if len(receiver.spans) != 4 {
		t.Errorf("%d traces, want 4", len(receiver.spans))
	}
}

// texts3 are the arguments of an event but the last, which must be the offset.
func texts3(m siotest.Message) (args []string) {
	for _, a := range m.Args[:len(m.Args)-1] {
		args = append(args, string(a))
	}
	if last := string(m.Args[len(m.Args)-1]); !strings.HasPrefix(last, `"`) {
		args = append(args, "no offset but "+last)
	}
	return args
}

// postTraced calls /sendPayload with a traceparent, if that is not empty.
func (p *program) postTraced(t testing.TB, body, header string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL+"/sendPayload", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if header != "" {
		r.Header.Set(bridge.HeaderTraceparent, header)
	}
	res, err := launch.Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res
}

// TestCollectorAway: a collector that is not there costs lines, nothing else.
func TestCollectorAway(t *testing.T) {
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
	p := startProgram(t, "--set", "traces.endpoint=http://"+launch.FreeAddr(t), "--set", "traces.ratio=1", "--set", "log.format=json")
	page := siotest.Dial(t, p.URL, siotest.Options{Transports: []string{"websocket"}})
	page.EmitWithAck("setUserId", "u")
	if res := p.postTraced(t, `{"userId":"u","topic":"t"}`, ""); res.StatusCode != http.StatusOK {
		t.Errorf("status %d", res.StatusCode)
	}
	p.says(t, `"spans were lost"`)
	p.Stop()
	if code := <-p.Status; code != exitStopped {
		t.Errorf("exit status %d:\n%s", code, p.Stderr)
	}
}
