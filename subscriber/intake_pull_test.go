package subscriber

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/internal/metrics"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

// TestMessagesThatLookLikeStatus: a publisher may set the header by which a NATS server tells a
// reader of its state, with an empty body. Such a message is read as every other.
func TestMessagesThatLookLikeStatus(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	c := ready(t, s, "a")
	nc := s.Connect()
	sent := 0
	send := func(status, description string, body []byte) {
		t.Helper()
		m := nats.NewMsg("codewar.t")
		m.Data = body
		if status != "" {
			m.Header.Set("Status", status)
			m.Header.Set("Description", description)
			m.Header.Set("Nats-Pending-Messages", "1000000000")
			m.Header.Set("Nats-Pending-Bytes", "1000000000")
			m.Header.Set("Nats-Consumer-Stalled", "codewar.t")
			m.Header.Set("Nats-Pin-Id", "x")
		}
		if _, err := nc.RequestMsg(m, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		sent++
	}
	for _, status := range []string{"100", "400", "404", "408", "409", "423", "503", "999"} {
		for _, description := range []string{
			"", "Idle Heartbeat", "FlowControl Request", "Consumer Deleted", "Leadership Change", "Server Shutdown", "Batch Completed",
			"Message Size Exceeds MaxBytes",
		} {
			send(status, description, nil)
			send("", "", []byte(fmt.Sprint(status, description)))
		}
	}
	k := &taker{}
	i, _ := run(t, c, k.handler())
	waitFor(t, "all are read", func() bool { return k.count() == sent })
	send("503", "", nil)
	send("", "", []byte("last"))
	waitFor(t, "those that came later are read", func() bool { return k.count() == sent })
	k.checkOrder(t)
	if stops := metrics.Value(i.metrics.stops); stops > 0 {
		t.Errorf("reading was interrupted %d times", stops)
	}
}
