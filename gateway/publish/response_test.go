package publish

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/bridge"
)

// The answer that is spelled by hand is what encoding/json makes of it.
func TestResponseIsJSON(t *testing.T) {
	t.Parallel()
	for _, user := range []bridge.UserID{"user_123", "42", " ", `a"b\c`, "<a>&b", "\u00e9\u2028\U0001f600", "a/b", "~", "\u007f", "'"} {
		s := publishResponse{Message: "Payload sent successfully", UserID: user, Topic: "evaluation.Complete_1:x-y", Sockets: 3, Offset: bridge.Offset{Epoch: 1763846400000, Seq: 1 << 60}}
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want)+"\n", string(s.append(nil))); diff != "" {
			t.Errorf("user %q: %s", user, diff)
		}
	}
}
