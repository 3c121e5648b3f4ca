package bridge

import (
	"strings"
	"testing"
)

func TestValidTopic(t *testing.T) {
	t.Parallel()
	for topic, want := range map[string]bool{
		"submissionUpdate": true, "a": true, "a.b.c": true, "A-Z_0:9": true, "error": true, strings.Repeat("x", 128): true, "connected": true,
		"": false, strings.Repeat("x", 129): false, ".a": false, "a.": false, "a..b": false, "a b": false, "a*": false, ">": false, "é": false, "a\n": false,
		"connect": false, "connect_error": false, "disconnect": false, "disconnecting": false, "newListener": false, "removeListener": false,
	} {
		if got := ValidTopic(topic); got != want {
			t.Errorf("ValidTopic(%q) = %v", topic, got)
		}
	}
}

func TestValidUserID(t *testing.T) {
	t.Parallel()
	for user, want := range map[string]bool{
		"user_123": true, "42": true, "a b": true, "{}*>.": true, "漢字": true, strings.Repeat("é", 128): true,
		"": false, strings.Repeat("é", 129): false, "a\x00": false, "a\x7f": false, "a\u0085": false, "a\u2028": false, "a\u200b": false, "\xff": false, strings.Repeat("x", 10_000): false,
	} {
		if got := ValidUserID(user); got != want {
			t.Errorf("ValidUserID(%.20q) = %v", user, got)
		}
	}
}

func TestOffsetOrder(t *testing.T) {
	t.Parallel()
	ordered := []Offset{{}, {1, 1}, {1, 2}, {1, 10}, {2, 1}}
	for i, a := range ordered {
		for j, b := range ordered {
			if got, want := a.After(b), i > j; got != want {
				t.Errorf("%v after %v = %v", a, b, got)
			}
		}
	}
}

func FuzzParseOffset(f *testing.F) {
	for _, s := range []string{"1-2", "0-0", "01-2", "1-", "-1", "1-2-3", "18446744073709551615-1", "18446744073709551616-1", "1-+2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if o, err := ParseOffset(s); err == nil && o.String() != s {
			t.Errorf("ParseOffset(%q) = %v", s, o)
		}
	})
}
