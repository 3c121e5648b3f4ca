package app

import (
	"log/slog"

	"github.com/codewar/socketbridge/gateway"
	"github.com/codewar/socketbridge/gateway/auth"
	"github.com/codewar/socketbridge/internal/config"
)

// openAuth makes the gateway's authentication. The verifier is nil with auth.mode none.
func openAuth(cfg config.Config, log *slog.Logger) (gateway.AuthConfig, error) {
	a := gateway.AuthConfig{
		Cookie: cfg.Auth.Cookie, WarnBefore: cfg.Auth.WarnBefore, PublishScope: cfg.Auth.PublishScope,
		APIKeys: apiKeys(cfg.Auth.APIKeys), OpsKeys: apiKeys(cfg.Ops.Keys),
		ConnectsPerSecond: cfg.Sockets.UserConnectsPerSecond, ConnectBurst: cfg.Sockets.UserConnectBurst,
	}
	if cfg.Auth.Mode == config.AuthNone {
		return a, nil
	}
	var err error
	a.Verifier, err = auth.Open(cfg.Auth.Tokens(), log)
	return a, err
}

// apiKeys parses entries that Validate has accepted.
func apiKeys(entries []string) (keys []auth.APIKey) {
	for _, e := range entries {
		if k, err := auth.ParseAPIKey(e); err == nil {
			keys = append(keys, k)
		}
	}
	return keys
}
