package bridge

import (
	"errors"
	"testing"
)

// TestUserTagIsStable: clients keep tokens over restarts, upgrades and nodes.
func TestUserTagIsStable(t *testing.T) {
	t.Parallel()
	for user, want := range map[UserID]string{"alice": "VO4Ic6cE", "bob": "s9GCFy0Y", "": "fQmb6JvW"} {
		if got := UserTag(user); got != want {
			t.Errorf("UserTag(%q) = %q, want %q", user, got, want)
		}
	}
}

func TestParseCursor(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Cursor{
		"0-0":              {},
		"1700000000000-42": {Offset: Offset{1700000000000, 42}},
		"1-2.AAAAAAA_":     {Offset{1, 2}, "AAAAAAA_"},
	} {
		if got, err := ParseCursor(text); err != nil || got != want || got.String() != text {
			t.Errorf("ParseCursor(%q) = %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", ".", "1-2.", "1-2.short", "1-2.toolong__", ".AAAAAAAA", "01-2.AAAAAAAA", "x.AAAAAAAA"} {
		if got, err := ParseCursor(text); !errors.Is(err, ErrOffset) {
			t.Errorf("ParseCursor(%q) = %+v, %v", text, got, err)
		}
	}
}

func FuzzParseCursor(f *testing.F) {
	for _, s := range []string{"", "0-0", "1-2.AAAAAAAA", "1-2.", "18446744073709551615-1.________"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := ParseCursor(s); err == nil && c.String() != s {
			t.Errorf("ParseCursor(%q) = %v", s, c)
		}
	})
}
