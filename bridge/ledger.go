package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"
)

// Ledger proves that no message vanishes: each message that was read and indexed
// (or dead-lettered) is counted as received, and once more under its outcome.
// Its zero value is empty. Safe for concurrent use.
type Ledger struct {
	received atomic.Uint64
	outcomes [len(outcomes)]atomic.Uint64 // in the order of outcomes
	breaches atomic.Uint64
}

// count is the counter of an outcome.
func (l *Ledger) count(o Outcome) *atomic.Uint64 { return &l.outcomes[slices.Index(outcomes[:], o)] }

func (l *Ledger) receive(n int)    { l.received.Add(uint64(n)) }
func (l *Ledger) settle(o Outcome) { l.count(o).Add(1) }

// Balance is the ledger at one moment.
type Balance struct {
	Received uint64
	Outcomes map[Outcome]uint64
}

// Balance reads the ledger. Outcomes are read before what was received, so
// InFlight of a sound ledger is never negative.
func (l *Ledger) Balance() Balance {
	b := Balance{Outcomes: make(map[Outcome]uint64, len(outcomes))}
	for _, o := range outcomes {
		b.Outcomes[o] = l.count(o).Load()
	}
	b.Received = l.received.Load()
	return b
}

// InFlight is how many messages were received and have no outcome yet. A
// negative number means that one was settled twice.
func (b Balance) InFlight() int64 {
	n := int64(b.Received)
	for _, settled := range b.Outcomes {
		n -= int64(settled)
	}
	return n
}

// Audit checks the ledger every minute until ctx ends. A breach is a bug in this
// program: it is logged as an error and counted.
func (l *Ledger) Audit(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := l.Balance().Err(); err != nil {
				l.breaches.Add(1)
				log.LogAttrs(ctx, slog.LevelError, "ledger does not balance", slog.Any("err", err))
			}
		case <-ctx.Done():
			return
		}
	}
}

// Err says whether the ledger is broken. Messages in flight are no breach.
func (b Balance) Err() error {
	if n := b.InFlight(); n < 0 {
		return fmt.Errorf("ledger: %d outcomes more than messages received", -n)
	}
	return nil
}
