package limit

import (
	"net/netip"
	"sync"
	"testing"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	const kb = 1 << 10
	m := NewMemory(MemoryConfig{PerConnection: 64 * kb, PerAddress: 96 * kb, Total: 128 * kb})
	a1, a2 := m.Open(netip.MustParseAddr("2001:db8::1")), m.Open(netip.MustParseAddr("2001:db8::2"))
	b, here := m.Open(netip.MustParseAddr("192.0.2.1")), m.Open(netip.MustParseAddr("127.0.0.1"))
	if !a1.SameAddress(a2) || a1.SameAddress(b) || here.SameAddress(here) {
		t.Error("accounts of one /64 have another address, or others the same")
	}
	step := func(name string, a *Account, n int, want Level) {
		t.Helper()
		if got := a.Add(n); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if want.Exceeded != "" {
			a.Release(n)
		}
	}
	step("one step is free", here, memoryStep, Level{})
	if m.Held() != 0 {
		t.Errorf("%d bytes charged for one step", m.Held())
	}
	step("below all bounds", a1, 64*kb, Level{})
	step("connection", a1, 1, Level{Exceeded: MemoryPerConnection})
	step("address crowded", a2, 28*kb, Level{Crowded: true})
	if address, all := a2.Room(); address != 20*kb || all != 0 {
		t.Errorf("room %d, %d", address, all)
	}
	step("address", a2, 8*kb, Level{MemoryPerAddress, true})
	step("total crowded", b, 28*kb, Level{Crowded: true})
	if address, all := b.Room(); address != 0 || all != 24*kb {
		t.Errorf("room %d, %d", address, all)
	}
	step("total", here, 8*kb, Level{MemoryTotal, true})
	a1.Close()
	if len(m.addresses) != 2 {
		t.Errorf("%d addresses, one of which holds something", len(m.addresses))
	}
	a1.Release(64 * kb)
	step("after a release", b, 28*kb, Level{})
	for a, n := range map[*Account]int{a2: 28 * kb, b: 56 * kb, here: memoryStep} {
		a.Release(n)
		a.Close()
		a.Close()
	}
	if m.Held() != 0 || len(m.addresses) != 0 {
		t.Errorf("%d bytes and %d addresses are left", m.Held(), len(m.addresses))
	}
}

// TestMemoryAtOnce: the books agree whatever the interleaving.
func TestMemoryAtOnce(t *testing.T) {
	t.Parallel()
	m := NewMemory(MemoryConfig{PerAddress: 1 << 30, Total: 1 << 30})
	var wg sync.WaitGroup
	for range 8 {
		a := m.Open(netip.MustParseAddr("192.0.2.1"))
		for range 4 {
			wg.Go(func() {
				for n := range 1000 {
					a.Add(n * 7)
					a.Release(n * 7)
				}
			})
		}
		wg.Go(a.Close)
	}
	wg.Wait()
	if m.Held() != 0 || len(m.addresses) != 0 {
		t.Errorf("%d bytes and %d addresses are left", m.Held(), len(m.addresses))
	}
}
