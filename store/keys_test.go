package store

import (
	"strings"
	"testing"

	"github.com/codewar/socketbridge/bridge"
)

func FuzzKeys(f *testing.F) {
	for _, s := range []string{"", "user_123", "{}", "}x", "{x}", "%", "%7B", "%25", "a b", "日本語", "\x00", "a}:marks:{b"} {
		f.Add(s, "user_123")
	}
	keys := newKeyspace("bridge")
	f.Fuzz(func(t *testing.T, a, b string) {
		if got := unescape(escape(a)); got != a {
			t.Errorf("unescape(escape(%q)) = %q", a, got)
		}
		mine, other := keys.ofUser(a), keys.ofUser(b)
		for i, key := range mine {
			if got := hashTag(key); got == "" || got != hashTag(mine[0]) {
				t.Errorf("key %q: hash tag %q, the first key's is %q", key, got, hashTag(mine[0]))
			}
			for j, k := range other {
				if key == k && (a != b || i != j) {
					t.Errorf("users %q and %q share key %q", a, b, key)
				}
			}
		}
		if (keys.session(a) == keys.session(b)) != (a == b) {
			t.Errorf("sessions %q and %q: keys %q and %q", a, b, keys.session(a), keys.session(b))
		}
	})
}

// ofUser are all keys of a user.
func (k keyspace) ofUser(id string) []string {
	user := bridge.UserID(id)
	return []string{k.marks(user), k.presence(user), k.sessions(user)}
}

// hashTag is the part of a key that decides its slot, as the Cluster
// specification has it: between the first brace and the next closing one.
func hashTag(key string) string {
	_, rest, ok := strings.Cut(key, "{")
	if !ok {
		return ""
	}
	tag, _, ok := strings.Cut(rest, "}")
	if !ok {
		return ""
	}
	return tag
}

func TestKeySpelling(t *testing.T) {
	got := newKeyspace("p").ofUser("a{b}%")
	want := []string{"p:marks:{a%7Bb%7D%25}", "p:presence:{a%7Bb%7D%25}", "p:sessions:{a%7Bb%7D%25}"}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
}
