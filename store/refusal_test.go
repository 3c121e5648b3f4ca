package store

import (
	"errors"
	"fmt"
	"testing"

	"github.com/codewar/socketbridge/bridge"
)

// TestGarbageUnderOneUsersKeys: whatever another program has left there, appending for that user
// is refused or works, and says so as a refusal, not as a fault that may pass.
func TestGarbageUnderOneUsersKeys(t *testing.T) {
	t.Parallel()
	server, r := openInside(t)
	ctx := t.Context()
	if _, err := r.Beat(ctx); err != nil {
		t.Fatal(err)
	}
	seq := uint64(0)
	send := func(users ...string) error {
		var entries []bridge.Entry
		for _, u := range users {
			seq++
			entries = append(entries, bridge.Entry{Envelope: &bridge.Envelope{
				User: bridge.UserID(u), Topic: "t", Payload: []byte("{}"), Offset: bridge.Offset{Epoch: 1, Seq: seq},
			}})
		}
		_, err := r.Append(ctx, entries)
		return err
	}
	user := 0
	for _, kind := range []string{"history", "last", "presence", "marks"} {
		for _, garbage := range []string{"SET %s garbage", "LPUSH %s x", "HSET %s a b", "XADD %s 1-1 a b", "XADD %s 1-1 p q m r", "SADD %s x"} {
			for _, known := range []bool{false, true} {
				user++
				name := fmt.Sprint("u", user)
				if known {
					if err := send(name); err != nil {
						t.Fatal(err)
					}
				}
				key := fmt.Sprintf("bridge:%s:{%s}", kind, name)
				server.Do("DEL " + key)
				server.Do(fmt.Sprintf(garbage, key))
				if err := send(name); err != nil && !errors.Is(err, bridge.ErrRefused) {
					t.Errorf("%s, known %v: %v, want no error or bridge.ErrRefused", fmt.Sprintf(garbage, key), known, err)
				}
			}
		}
	}
	if err := send("good", "u1"); !errors.Is(err, bridge.ErrRefused) {
		t.Errorf("a user without garbage beside one with it: %v", err)
	}
	if err := send("good"); err != nil {
		t.Errorf("a user without garbage: %v", err)
	}
}

func TestFaultsOfTheServerAreNoRefusals(t *testing.T) {
	for text, want := range map[string]bool{
		"WRONGTYPE Operation against a key holding the wrong kind of value":              true,
		"ERR string exceeds maximum allowed size (proto-max-bulk-len)":                   true,
		"ERR user_script:7: attempt to compare nil with number script: a":                true,
		"ERR Error running script (call to f_a): @user_script:7: attempt to index a nil": true,
		"OOM command not allowed when used memory > 'maxmemory'.":                        false,
		"READONLY You can't write against a read only replica.":                          false,
		"NOPERM this user has no permissions to run the 'xadd' command":                  false,
		"LOADING Redis is loading the dataset in memory":                                 false,
		"CLUSTERDOWN The cluster is down":                                                false,
		"MISCONF Redis is configured to save RDB snapshots":                              false,
		"NOREPLICAS Not enough good replicas to write.":                                  false,
		"BUSY Redis is busy running a script.":                                           false,
		"ERR max number of clients reached":                                              false,
		"ERR unknown command 'XADD'":                                                     false,
	} {
		if got := errors.Is(classify(fmt.Errorf("append: %w", answer(text))), bridge.ErrRefused); got != want {
			t.Errorf("%q: refused %v, want %v", text, got, want)
		}
	}
}

// answer is an error that Redis has answered with.
type answer string

func (a answer) Error() string { return string(a) }
func (answer) RedisError()     {}

// TestGarbageCheckpoint: a leader claims a term and, without a checkpoint, reads from the beginning
// of its window, whatever another program has written.
func TestGarbageCheckpoint(t *testing.T) {
	t.Parallel()
	server, r := openInside(t)
	ctx := t.Context()
	if err := r.Claim(ctx, 5); err != nil {
		t.Fatal(err)
	}
	want := bridge.Offset{Epoch: 1, Seq: 2}
	for _, garbage := range []string{"SET %s garbage", "LPUSH %s x", "SET %s 1-"} {
		server.Do("DEL bridge:{cluster}:checkpoint")
		server.Do(fmt.Sprintf(garbage, "bridge:{cluster}:checkpoint"))
		if _, o, err := r.Checkpoint(ctx); err != nil || !o.IsZero() {
			t.Errorf("%s: %v, %v; want none", garbage, o, err)
		}
		if err := r.SaveCheckpoint(ctx, 5, want); err != nil {
			t.Errorf("%s: %v", garbage, err)
		}
		if _, o, err := r.Checkpoint(ctx); err != nil || o != want {
			t.Errorf("%s: then %v, %v", garbage, o, err)
		}
	}
	for _, garbage := range []string{"SET %s garbage", "LPUSH %s x", "SET %s -1"} {
		server.Do("DEL bridge:{cluster}:term")
		server.Do(fmt.Sprintf(garbage, "bridge:{cluster}:term"))
		if term, o, err := r.Checkpoint(ctx); err != nil || term != 0 || o != want {
			t.Errorf("%s: term %d, %v, %v; want no term, and the checkpoint", garbage, term, o, err)
		}
		if err := r.Claim(ctx, 6); err != nil {
			t.Errorf("%s: %v", garbage, err)
		}
	}
}

// TestGarbageInMarks: the marks of one user that another program has written over do not keep the
// progress of the users beside it from being recorded.
func TestGarbageInMarks(t *testing.T) {
	t.Parallel()
	server, r := openInside(t)
	ctx := t.Context()
	for i, garbage := range []string{"SET %s garbage", "LPUSH %s x", "HSET %s taken garbage"} {
		bad, good := bridge.UserID(fmt.Sprint("bad", i)), bridge.UserID(fmt.Sprint("good", i))
		server.Do(fmt.Sprintf(garbage, "bridge:marks:{"+string(bad)+"}"))
		to := bridge.Offset{Epoch: 1, Seq: 3}
		if err := r.Taken(ctx, []bridge.Delivered{{User: bad, To: to}, {User: good, To: to}}); err != nil {
			t.Errorf("%s: %v", garbage, err)
		}
		if taken, _, err := r.Marks(ctx, good); err != nil || taken != to {
			t.Errorf("%s: the other user's mark is %v (%v), want %v", garbage, taken, err, to)
		}
	}
}
