package gateway

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/codewar/socketbridge/gateway/siotest"
	"github.com/codewar/socketbridge/internal/testutil/capture"
)

// TestUnknownEvent: an event that the bridge does not have is answered, and the log has
// one line for all of them.
func TestUnknownEvent(t *testing.T) {
	t.Parallel()
	var log capture.Text
	_, addr := logging(t, slog.New(slog.NewTextHandler(&log, nil)), Config{}, HubConfig{}, memory())
	for _, event := range []string{`42["setUserID","u"]`, `42["refreshToken","t"]`, `42["toString"]`} {
		name := strings.Split(event, `"`)[1]
		siotest.Await(t, siotest.Raw(t, addr, event),
			`42["error",{"type":"UNKNOWN_EVENT","message":"The bridge has no event of this name","details":{"action":"`+name+`","socketId":"`)
	}
	siotest.Await(t, siotest.Raw(t, addr, `427["setUserID","u"]`), `437[{"error":"The bridge has no event of this name","code":"UNKNOWN_EVENT","timestamp":"`)
	if n := strings.Count(log.String(), "unknown event"); n != 1 || !strings.Contains(log.String(), `level=WARN msg="unknown event" component=gateway event=setUserID socket=`) {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}
