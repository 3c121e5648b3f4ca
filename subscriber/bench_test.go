package subscriber

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

// BenchmarkIntake reads a full stream: what the leader can do when it catches
// up. One operation is one message of 200 bytes.
func BenchmarkIntake(b *testing.B) {
	s := natstest.Server(b)
	c := ready(b, s, "a")
	fill(b, c, b.N)
	all := make(chan struct{})
	read, batches := 0, 0
	i := newIntake(c, IntakeHandler{
		Keep: func([]bridge.Message) {}, Begin: func(uint64) {}, End: func(uint64) {}, Handed: func() bridge.Offset { return bridge.Offset{} },
		Route: func(_ context.Context, _ uint64, batch []bridge.Message) error {
			batches++
			if read += len(batch); read == b.N {
				close(all)
			}
			return nil
		},
	})
	b.ReportAllocs()
	b.ResetTimer()
	var running sync.WaitGroup
	running.Go(func() { _ = i.Run(context.Background()) })
	<-all
	b.StopTimer()
	b.ReportMetric(float64(b.N)/float64(batches), "msgs/batch")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	if err := i.Drain(context.Background()); err != nil {
		b.Error(err)
	}
	running.Wait()
}

// fill stores n messages as fast as NATS takes them.
func fill(b *testing.B, c *Client, n int) {
	b.Helper()
	body := make([]byte, 200)
	js, err := jetstream.New(c.nc, jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		b.Fatal(err)
	}
	for range n {
		if _, err := js.PublishAsync("codewar.t", body, jetstream.WithStallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
}

// BenchmarkForward sends batches of 100 to a node and waits for all answers at
// the end, with up to 64 on their way.
func BenchmarkForward(b *testing.B) {
	s := natstest.Server(b)
	leader, node := ready(b, s, "leader"), ready(b, s, "node")
	counts := make([]bridge.Count, 100)
	if err := node.ReceiveForwards(func(batch []*bridge.Envelope, answer func([]bridge.Count)) { answer(counts[:len(batch)]) }, func() {}); err != nil {
		b.Fatal(err)
	}
	batch := envelopes(100, 200)
	var waiting sync.WaitGroup
	free := make(chan struct{}, 64)
	b.ReportAllocs()
	for b.Loop() {
		free <- struct{}{}
		waiting.Add(1)
		leader.Forward(1, "node", batch, func(_ []bridge.Count, err error) {
			if err != nil {
				b.Error(err)
			}
			<-free
			waiting.Done()
		})
	}
	waiting.Wait()
	b.ReportMetric(float64(b.N*len(batch))/b.Elapsed().Seconds(), "envelopes/s")
}

// BenchmarkPublish is the PubAck round trip with as many callers as processors.
func BenchmarkPublish(b *testing.B) {
	c := ready(b, natstest.Server(b), "a")
	body := make([]byte, 200)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Publish(b.Context(), Publication{Topic: "t", Body: body}); err != nil {
				b.Error(err)
			}
		}
	})
}
