package app_test

import (
	"net/http"
	"testing"

	"github.com/codewar/socketbridge/gateway/auth"
)

// TestOperatorsRoutesNeedAKey: outside of a plain development start the public listener
// has no operators' routes for a client without a key, not even on this machine.
func TestOperatorsRoutesNeedAKey(t *testing.T) {
	_, api := auth.NewAPIKey("judge")
	key, entry := auth.NewAPIKey("me")
	for name, tt := range map[string]struct {
		args          []string
		without, with int
	}{
		"plain":            {nil, http.StatusOK, http.StatusOK},
		"API keys":         {[]string{"auth.api_keys=" + api}, http.StatusNotFound, http.StatusNotFound},
		"origins":          {[]string{"origins=https://codewar.example"}, http.StatusNotFound, http.StatusNotFound},
		"trusted proxy":    {[]string{"http.trusted_proxies=127.0.0.1"}, http.StatusNotFound, http.StatusNotFound},
		"staging":          {[]string{"node.env=staging"}, http.StatusNotFound, http.StatusNotFound},
		"keys":             {[]string{"ops.keys=" + entry}, http.StatusUnauthorized, http.StatusOK},
		"keys, production": {[]string{"ops.keys=" + entry, "node.env=production", "auth.allow_insecure=true"}, http.StatusUnauthorized, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			var args []string
			for _, set := range append(tt.args, "drain.duration=0s") {
				args = append(args, "--set", set)
			}
			p := startProgram(t, args...)
			for _, path := range []string{"/metrics", "/api/v1/users", "/api/v1/cluster", "/console", "/api/v1/logs"} {
				if status, _, body := p.request(t, "GET", path); status != tt.without {
					t.Errorf("%s without a key: %d %.100s, want %d", path, status, body, tt.without)
				}
				if status, _, body := p.request(t, "GET", path, "X-API-Key", key); status != tt.with {
					t.Errorf("%s with the key: %d %.100s, want %d", path, status, body, tt.with)
				}
			}
			p.Wait(t)
		})
	}
}
