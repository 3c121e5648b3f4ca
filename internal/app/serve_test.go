package app_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/codewar/socketbridge/internal/testutil/launch"
)

func TestServeEmbedded(t *testing.T) {
	p := startProgram(t)
	if status, body := p.Get("/livez"); status != http.StatusOK {
		t.Errorf("/livez: %d %s", status, body)
	}
	res, err := launch.Client.Post(p.URL+"/sendPayload", "application/json", strings.NewReader(`{"userId":"nobody","topic":"t"}`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNotFound {
		t.Errorf("/sendPayload for nobody: %d", res.StatusCode)
	}
	p.Stop()
	if code := <-p.Status; code != exitStopped {
		t.Errorf("exit status %d:\n%s", code, p.Stderr)
	}
}
