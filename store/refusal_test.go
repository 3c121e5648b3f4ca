package store

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// TestGarbageUnderOneUsersKeys: whatever another program has left there, that user cannot be
// looked up, which is said as a refusal and not as a fault that may pass, and the others can.
func TestGarbageUnderOneUsersKeys(t *testing.T) {
	t.Parallel()
	server, r := openInside(t)
	ctx := t.Context()
	if _, err := r.Beat(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Register(ctx, bridge.Registration{User: "good", Socket: "s"}); err != nil {
		t.Fatal(err)
	}
	for i, garbage := range []string{"SET %s garbage", "LPUSH %s x", "HSET %s a b", "XADD %s 1-1 a b", "SADD %s x"} {
		bad := bridge.UserID(fmt.Sprint("bad", i))
		server.Do(fmt.Sprintf(garbage, "bridge:presence:{"+string(bad)+"}"))
		found := r.Locate(ctx, []bridge.UserID{bad, "good", bad, "nobody"})
		for _, at := range []int{0, 2} {
			if !errors.Is(found[at].Err, bridge.ErrRefused) {
				t.Errorf("%s: %+v, want bridge.ErrRefused", garbage, found[at])
			}
		}
		if found[1].Err != nil || len(found[1].Sockets) != 1 || found[3].Err != nil {
			t.Errorf("%s: the users beside it: %+v, %+v", garbage, found[1], found[3])
		}
	}
	for i, garbage := range []string{"SET %s garbage", "LPUSH %s x", "HSET %s taken garbage"} {
		user := bridge.UserID(fmt.Sprint("marks", i))
		server.Do(fmt.Sprintf(garbage, "bridge:marks:{"+string(user)+"}"))
		if done, err := r.Register(ctx, bridge.Registration{User: user, Socket: "s"}); err != nil || !done.Delivered.IsZero() {
			t.Errorf("%s: registered %+v, %v", garbage, done, err)
		}
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

// TestGarbageInMarks: the marks of one user that another program has written over do not keep the
// progress of the users beside it from being recorded.
func TestGarbageInMarks(t *testing.T) {
	t.Parallel()
	server, r := openInside(t)
	ctx := t.Context()
	for i, garbage := range []string{"SET %s garbage", "LPUSH %s x", "HSET %s taken garbage", "HSET %s taken 1-18446744073709551616", "HSET %s taken 01-2", "HSET %s taken 1-100000000000000000000"} {
		bad, good := bridge.UserID(fmt.Sprint("bad", i)), bridge.UserID(fmt.Sprint("good", i))
		server.Do(fmt.Sprintf(garbage, "bridge:marks:{"+string(bad)+"}"))
		to := bridge.Offset{Epoch: 1, Seq: 3}
		if err := r.Taken(ctx, []bridge.Delivered{{User: bad, To: to}, {User: good, To: to}}); err != nil {
			t.Errorf("%s: %v", garbage, err)
		}
		for _, user := range []bridge.UserID{bad, good} {
			if taken, err := r.Delivered(ctx, user); err != nil || taken != to {
				t.Errorf("%s: the mark of %s is %v (%v), want %v", garbage, user, taken, err, to)
			}
		}
	}
}

// TestMarksLapse: a user's delivered offset is forgotten seven days after it moved last.
func TestMarksLapse(t *testing.T) {
	t.Parallel()
	server, r := openInside(t)
	week := (7 * 24 * time.Hour).Milliseconds()
	for seq := range uint64(2) {
		if err := r.Taken(t.Context(), []bridge.Delivered{{User: "u", To: bridge.Offset{Epoch: 1, Seq: seq + 1}}}); err != nil {
			t.Fatal(err)
		}
		left, err := strconv.ParseInt(strings.TrimPrefix(server.Do("PTTL bridge:marks:{u}"), ":"), 10, 64)
		if err != nil || left > week || left < week-time.Minute.Milliseconds() {
			t.Errorf("the marks are kept for %d ms (%v), want %d", left, err, week)
		}
		server.Do("PEXPIRE bridge:marks:{u} 100000") // the next one moves the end again
	}
}
