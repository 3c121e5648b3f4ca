package subscriber

import "testing"

func TestParsePlace(t *testing.T) {
	tests := map[string]struct {
		reply string
		want  place
		ok    bool
	}{
		"plain":            {"$JS.ACK.CODEWAR.c1.1.45.7.1700000000000000000.3", place{45, 7, 1700000000000000000}, true},
		"domain":           {"$JS.ACK.hub.ACC.CODEWAR.c1.1.45.7.1700000000000000000.3", place{45, 7, 1700000000000000000}, true},
		"domain and token": {"$JS.ACK._.ACC.CODEWAR.c1.1.45.7.1700000000000000000.3.tok", place{45, 7, 1700000000000000000}, true},
		"no reply":         {"", place{}, false},
		"inbox":            {"_INBOX.abc.1", place{}, false},
		"too short":        {"$JS.ACK.CODEWAR.c1.1.45", place{}, false},
		"not a number":     {"$JS.ACK.CODEWAR.c1.1.4x.7.1.3", place{}, false},
		"overflow":         {"$JS.ACK.CODEWAR.c1.1.99999999999999999999.7.1.3", place{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := parsePlace(tt.reply)
			if ok != tt.ok || ok && got != tt.want {
				t.Errorf("parsePlace(%q) = %v, %v; want %v, %v", tt.reply, got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestParsePlaceDoesNotAllocate(t *testing.T) {
	n := testing.AllocsPerRun(100, func() { parsePlace("$JS.ACK.CODEWAR.c1.1.45.7.1700000000000000000.3") })
	if n != 0 {
		t.Errorf("%v allocations a message", n)
	}
}
