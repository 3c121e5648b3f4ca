package sio

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/codewar/socketbridge/gateway/limit"
	"github.com/codewar/socketbridge/internal/metrics"
)

// peakHeap returns the most memory that was in use, beyond what was at the start, at any
// collection while do ran.
func peakHeap(do func()) uint64 {
	base, most := heap(), uint64(0)
	done := make(chan struct{})
	var sampler sync.WaitGroup
	sampler.Go(func() {
		for {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
			select {
			case <-done:
				return
			default:
			}
		}
	})
	do()
	close(done)
	sampler.Wait()
	return max(most, base) - base
}

// hostile is one way to make a server hold a megabyte for a client.
type hostile struct {
	join bool // the client joins first
	say  []string
	part bool   // the last byte of what it says never comes
	push []byte // what the server has to say to it, and it does not read
}

// TestMemoryIsBounded: a hundred clients that each would have the server hold megabytes cost
// no more than Config.Memory allows, and another client is served meanwhile.
func TestMemoryIsBounded(t *testing.T) { // not parallel: it measures the heap of the process
	const clients, total, mb = 100, 8 << 20, 1_000_000
	ones := strings.Repeat("1,", mb/2-20) + "1]"
	text := strings.Repeat("x", mb-100)
	for name, h := range map[string]hostile{
		"auth":                  {say: []string{`40{"a":[` + ones + "}"}},
		"auth elsewhere":        {join: true, say: []string{`40/admin,{"a":[` + ones + "}"}},
		"auth that never ends":  {say: []string{`40{"a":[` + ones + "}"}, part: true},
		"arguments":             {join: true, say: []string{`42["e",` + ones}},
		"event":                 {join: true, say: []string{`42["e","` + text + `"]`, `42["e",["` + text + `"]]`}},
		"event that never ends": {join: true, say: []string{`42["e","` + text + `"]`}, part: true},
		"event's name":          {join: true, say: []string{`42["` + text + `"]`}},
		"acknowledgement":       {join: true, say: []string{`431["` + text + `"]`}},
		"many arguments in ack": {join: true, say: []string{`431[` + ones}},
		"does not read":         {join: true, push: []byte(`{"s":"` + text + `"}`)},
	} {
		for _, transport := range []string{websocketTransport, pollingTransport} {
			t.Run(name+", "+transport, func(t *testing.T) {
				var joined sync.Map // of the sockets
				blocked := make(chan struct{})
				r := obedientTo(func(s *Socket) {
					_ = s.EmitWithAck("question", time.Minute, nil, func([]json.RawMessage, error) {})
					s.conn.srv.Flush()
					joined.Store(s, true)
				}, blocked)
				s, url := newServer(t, Config{MaxInbound: mb, CompressAbove: 1000, Memory: limit.MemoryConfig{Total: total}}, r)
				frames := h.frames(transport)
				big := EventPacket("big", h.push, "")
				const bound = 64 << 20 // without Config.Memory it is 100 MB and more
				got := peakHeap(func() {
					var all sync.WaitGroup
					for range clients {
						all.Go(func() { h.attack(t, url, transport, frames) })
					}
					if h.push != nil {
						waitFor(t, func() bool { n := 0; joined.Range(func(any, any) bool { n++; return true }); return n == clients })
						for range 4 {
							joined.Range(func(s, _ any) bool { _ = s.(*Socket).Push(big); return true })
						}
					}
					all.Wait()
					waitFor(t, func() bool { return s.memory.Held() <= total })
					joinWS(t, url, "").ws.Close()
				})
				if got > bound {
					t.Errorf("%d MB are held, want at most %d", got>>20, bound>>20)
				}
				close(blocked)
			})
		}
	}
}

// blockedHandler has Events that do not return until a channel is closed.
type blockedHandler struct {
	obedient
	connect func(*Socket)
	blocked chan struct{}
}

func obedientTo(connect func(*Socket), blocked chan struct{}) blockedHandler {
	return blockedHandler{connect: connect, blocked: blocked}
}

func (b blockedHandler) Connect(s *Socket) { b.connect(s) }

func (b blockedHandler) Event(*Socket, string, []json.RawMessage, func(...any)) { <-b.blocked }

// frames are what the client says after it has joined, encoded once.
func (h hostile) frames(transport string) (out [][]byte) {
	for _, text := range h.say {
		if transport == websocketTransport {
			out = append(out, deflate([]byte(text)))
		} else {
			out = append(out, []byte(text))
		}
	}
	return out
}

// attack is one client. It returns when the server has read what the client says, or has hung up.
func (h hostile) attack(t *testing.T, url, transport string, frames [][]byte) {
	if transport == pollingTransport {
		h.poll(t, url, frames)
		return
	}
	c := dialRaw(t, strings.TrimPrefix(url, "http://"), "", deflateExtension)
	if h.join {
		c.write(0x80|opText, []byte("40"))
		for text := ""; !strings.HasSuffix(text, "40{"); {
			more, err := c.in.ReadString('{')
			if err != nil {
				return // evicted
			}
			text += more
		}
	}
	for i, frame := range frames {
		first := byte(0x80 | opText | compressed)
		if h.part && i == len(frames)-1 {
			first &^= 0x80
		}
		c.write(first, frame)
	}
	if len(frames) > 0 {
		c.write(0x80|0x9, []byte("read?"))
		_ = c.nc.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, _ = io.CopyN(io.Discard, c.in, 100) // until the answer, or the end
	}
}

func (h hostile) poll(t *testing.T, url string, bodies [][]byte) {
	c := dialPolling(t, url)
	if h.join {
		if status, _ := c.post("40"); status != http.StatusOK {
			return // evicted
		}
		c.get()
	}
	conn := connectTCP(t, url)
	in := bufio.NewReader(conn)
	for i, body := range bodies {
		missing := 0
		if h.part && i == len(bodies)-1 {
			missing = 1
		}
		_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", strings.TrimPrefix(c.url, url), len(body)+missing)
		_, _ = conn.Write(body)
		if missing > 0 {
			return
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return // evicted
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
}

// TestMemoryOfHeaders: what a handshake presents counts until the client has joined.
func TestMemoryOfHeaders(t *testing.T) {
	t.Parallel()
	s, url := newServer(t, Config{Memory: limit.MemoryConfig{Total: 64 << 10}}, &recorder{})
	header := http.Header{"Cookie": {strings.Repeat("x", 30<<10)}}
	ask := func() int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/socket.io/?EIO=4&transport=polling", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	first := ask()
	held := s.memory.Held()
	if first != http.StatusOK || held < 30<<10 {
		t.Errorf("status %d, %d bytes held", first, held)
	}
	for range 10 {
		ask()
	}
	if held := s.memory.Held(); held > 64<<10 {
		t.Errorf("%d bytes held by handshakes", held)
	}
	for size := 62 << 10; size < 64<<10; size += 16 { // the packet after the handshake is one too many
		header.Set("Cookie", strings.Repeat("x", size))
		ask()
	}
	if n := metrics.Value(s.metrics.panics); n > 0 {
		t.Errorf("%d panics", n)
	}
	if n := s.Stats(); n.Refusals[limit.MemoryTotal] == 0 && n.Drops[ReasonTotalMemory] == 0 {
		t.Errorf("nothing counted: %+v", n)
	}
}

// TestMemoryOfAddress: the clients of one address may hold so much, whatever their number.
// The ones that hold most are ended; others of the address, and other addresses, are not.
func TestMemoryOfAddress(t *testing.T) {
	t.Parallel()
	const hostile, other, bound = "192.0.2.1", "192.0.2.2", 1 << 20
	sockets := make(chan *Socket, 1)
	r := &recorder{connect: func(s *Socket) { sockets <- s }}
	s, url := newServer(t, Config{ClientAddr: fromHeader, Memory: limit.MemoryConfig{PerAddress: bound}}, r)
	join := func(from string) (*pollClient, *Socket) {
		c := dialPollingFrom(t, url, from)
		c.wantPost("40")
		c.get()
		return c, <-sockets
	}
	modest, modestSocket := join(hostile)
	neighbour, neighbourSocket := join(other)
	big := EventPacket("big", []byte(`{"s":"`+strings.Repeat("x", 100<<10)+`"}`), "")
	const clients = 30 // that do not come for what waits for them
	for range clients {
		_, sock := join(hostile)
		if err := sock.Push(big); err != nil {
			t.Errorf("push: %v", err)
		}
		if got := s.memory.Held(); got > bound {
			t.Errorf("%d KB held for an address that may hold %d", got>>10, bound>>10)
		}
	}
	if n := s.Stats().Drops[ReasonAddressMemory]; n < clients-bound/(100<<10) || n == clients {
		t.Errorf("%d drops of %d", n, clients)
	}
	for c, sock := range map[*pollClient]*Socket{modest: modestSocket, neighbour: neighbourSocket} {
		push(t, sock, 0, 1)
		wantNumbered(t, c.events(1))
	}
}

// TestMemoryOfHall: many clients that read are sent more at once than may be held for them.
// What waits is written before anybody is ended for it.
func TestMemoryOfHall(t *testing.T) {
	t.Parallel()
	const clients, total = 64, 1 << 20
	sockets := make(chan *Socket, clients)
	r := &recorder{connect: func(s *Socket) { sockets <- s }}
	s, url := newServer(t, Config{Memory: limit.MemoryConfig{Total: total}}, r)
	var reading sync.WaitGroup
	for range clients {
		c := joinWS(t, url, "")
		reading.Go(func() { c.want(`42["big"`) })
	}
	big := EventPacket("big", []byte(`{"s":"`+strings.Repeat("x", 100<<10)+`"}`), "")
	for range clients {
		if err := (<-sockets).Queue(big); err != nil {
			t.Errorf("queue: %v", err)
		}
	}
	s.Flush()
	reading.Wait()
	if n := s.Stats().Drops[ReasonTotalMemory]; n != 0 {
		t.Errorf("%d were ended", n)
	}
}

// TestMemoryOfJoins: clients that wait to be admitted, with tokens and headers of ordinary
// size, hold nothing that counts, so that a storm of them is not taken for an attack.
func TestMemoryOfJoins(t *testing.T) {
	t.Parallel()
	const clients = 50
	var waiting sync.WaitGroup
	waiting.Add(clients)
	admit := make(chan struct{})
	r := &recorder{admit: func(*Socket) *Refusal { waiting.Done(); <-admit; return nil }}
	s, url := newServer(t, Config{CompressAbove: 1000, Memory: limit.MemoryConfig{Total: 64 << 20}}, r)
	for range clients {
		c := dialRaw(t, strings.TrimPrefix(url, "http://"), "", deflateExtension)
		c.write(0x80|opText|compressed, deflate([]byte(`40{"token":"`+strings.Repeat("x", 1000)+`"}`)))
	}
	waiting.Wait()
	if held := s.memory.Held(); held > 0 {
		t.Errorf("%d bytes held", held)
	}
	close(admit)
}

// TestMemoryOfSmallMessages: clients that hold an unfinished message for long are ended before
// one whose message has just begun, although they hold no more.
func TestMemoryOfSmallMessages(t *testing.T) {
	t.Parallel()
	s, url := newServer(t, Config{CompressAbove: 1000, Memory: limit.MemoryConfig{Total: 32 * inflateBytes}}, &recorder{})
	known := make(map[*conn]bool)
	begin := func(ago time.Duration) (c *conn) {
		raw := dialRaw(t, strings.TrimPrefix(url, "http://"), "", deflateExtension)
		raw.write(opText|compressed, deflate([]byte("4"))[:1])
		waitFor(t, func() bool {
			s.mu.RLock()
			defer s.mu.RUnlock()
			for _, c = range s.conns {
				if !known[c] && c.reading.Load() != 0 {
					return true
				}
			}
			return false
		})
		known[c] = true
		c.reading.Store(time.Now().Add(-ago).UnixNano())
		return c
	}
	for range 15 {
		begin(time.Minute)
	}
	young := begin(-time.Minute) // and stays so
	for range 30 {
		begin(time.Minute)
	}
	if n := s.Stats().Drops[ReasonTotalMemory]; n == 0 || young.hasEnded() {
		t.Errorf("%d drops, the young one among them: %v", n, young.hasEnded())
	}
}

// TestMemoryIsReleased: nothing is counted for clients that have left, however they leave.
func TestMemoryIsReleased(t *testing.T) {
	t.Parallel()
	blocked := make(chan struct{})
	r := &recorder{event: func(*Socket, string, []json.RawMessage, func(...any)) { <-blocked }}
	s, url := newServer(t, Config{CompressAbove: 1000, Memory: limit.MemoryConfig{Total: 64 << 20}}, r)
	event := `42["e","` + strings.Repeat("x", 100<<10) + `"]`
	for i := range 10 {
		c := joinWS(t, url, `{"token":"`+strings.Repeat("x", 10<<10)+`"}`)
		sock := r.socket(t, 2*i)
		c.send(event)
		c.send(event)
		p := joinPolling(t, url, "")
		p.wantPost(event + "\x1e" + event)
		waitFor(t, func() bool { return s.memory.Held() > int64(i+1)*4*100<<10 })
		_ = sock.Push(EventPacket("big", []byte(`{"s":"`+strings.Repeat("x", 8<<20)+`"}`), "")) // to a client that does not read
		r.socket(t, 2*i+1)
		switch i % 3 {
		case 0:
			c.ws.Close()
		case 1:
			sock.Close("deploy")
		default:
			sock.Disconnect("kicked")
		}
		p.wantPost("1")
	}
	close(blocked)
	waitFor(t, func() bool { return s.memory.Held() == 0 })
}
