package store_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/bridge/bridgetest"
	"github.com/codewar/socketbridge/store/redistest"
)

// TestPackedEntries: many messages of many users in one batch come out of the history
// byte for byte, whatever their payloads look like, by script and by heart.
func TestPackedEntries(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := opener(t, redistest.Server(t), bridgetest.Limits{})("a")
	must(t, second(r.Beat(ctx)))
	must(t, r.Claim(ctx, 1))
	rnd := rand.New(rand.NewPCG(1, 2))
	payloads := []string{`{}`, "{\n}", "{\"a\":\" t 3\\n\"\n 1790000000000-5 t 2\n}", `{"b":"` + strings.Repeat("ü", 5000) + `"}`, `{"c":"` + strings.Repeat("x", 70_000) + `"}`}
	users := []bridge.UserID{"u0", "u 1", "{u}2"}
	want := make(map[bridge.UserID][]*bridge.Envelope)
	seq := uint64(0)
	for range 4 { // the first batch by script
		var batch []bridge.Entry
		for range 100 {
			seq++
			e := &bridge.Envelope{User: users[rnd.IntN(len(users))], Topic: "submissionUpdate", Payload: []byte(payloads[rnd.IntN(len(payloads))]), Offset: offset(seq)}
			batch = append(batch, bridge.Entry{Envelope: e})
			want[e.User] = append(want[e.User], e)
		}
		must(t, second(r.Append(ctx, batch)))
	}
	for _, user := range users {
		page, err := r.Read(ctx, user, bridge.Offset{}, int(seq))
		must(t, err)
		if diff := cmp.Diff(want[user], page.Entries, cmp.Comparer(bytes.Equal)); diff != "" {
			t.Errorf("history of %s (-appended +read):\n%.2000s", user, diff)
		}
	}
}
