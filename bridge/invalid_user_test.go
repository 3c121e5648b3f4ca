package bridge_test

import (
	"strings"
	"testing"

	"github.com/codewar/socketbridge/bridge"
)

func TestFindUser(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bridge.UserID{
		`{"userId":"u1","topic":"t"`:                   "u1", // cut off
		`{"a":[1,2 , "userId" : "u 1"]`:                "u 1",
		`{"userId":42,"x":}`:                           "42",
		`{"userId":"a\u0062"}`:                         "ab",
		`{"userId":"u","userId":"v"}`:                  "u",
		`{"userId":""}`:                                "",
		`{"userId":null}`:                              "",
		`{"userId":"` + strings.Repeat("x", 129) + `"`: "",
		"\xff{\"userId\":\"u\"":                        "u",
		`no JSON`:                                      "",
		``:                                             "",
		strings.Repeat(" ", 100_000) + `{"userId":"u"`: "", // too far in
	} {
		if got := bridge.FindUser([]byte(body)); got != want {
			t.Errorf("%.60q: got %q, want %q", body, got, want)
		}
	}
}
