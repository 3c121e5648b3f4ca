package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/codewar/socketbridge/e2e/procs"
)

// accounts are the users of NATS and Redis that deploy/ defines, with secrets of this run.
type accounts struct{ secrets string } // the directory

// admin is a user of Redis that deploy/ has not: it plants garbage.
const admin = "admin"

func makeAccounts(ctx context.Context, dir string) (a accounts, err error) {
	root, err := procs.Root(ctx)
	if err != nil {
		return a, err
	}
	a.secrets = filepath.Join(dir, "secrets")
	deploy := filepath.Join(root, "deploy")
	out, err := exec.CommandContext(ctx, filepath.Join(deploy, "make-secrets.sh"), a.secrets).CombinedOutput() //nolint:gosec // ours
	if err != nil {
		return a, fmt.Errorf("make secrets: %w\n%s", err, out)
	}
	for from, to := range map[string]string{
		filepath.Join(deploy, "nats", "nats.conf"):        "nats.conf",
		filepath.Join(deploy, "nats", "permissions.conf"): "permissions.conf",
		filepath.Join(a.secrets, "nats-passwords.conf"):   "passwords.conf",
	} {
		text, err := os.ReadFile(from) //nolint:gosec // ours
		if err != nil {
			return a, fmt.Errorf("read account: %w", err)
		}
		// The port of the health check may be in use on this machine; the directory is a flag.
		text = []byte(strings.NewReplacer("http: 127.0.0.1:8222\n", "", "store_dir: /data\n", "").Replace(string(text)))
		if err := os.WriteFile(filepath.Join(a.secrets, to), text, 0o600); err != nil {
			return a, fmt.Errorf("write account: %w", err)
		}
	}
	password, err := a.secret("redis-bridge-password")
	if err != nil {
		return a, err
	}
	users, err := os.OpenFile(a.aclFile(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return a, fmt.Errorf("open users of redis: %w", err)
	}
	_, err = fmt.Fprintf(users, "user %s on >%s allkeys +@all\n", admin, password)
	if closed := users.Close(); err == nil {
		err = closed
	}
	return a, err
}

func (a accounts) natsConf() string { return filepath.Join(a.secrets, "nats.conf") }
func (a accounts) aclFile() string  { return filepath.Join(a.secrets, "redis-users.acl") }

// secret reads one file of the directory.
func (a accounts) secret(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(a.secrets, name)) //nolint:gosec // ours
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// environment is that of a bridge.
func (a accounts) environment() []string {
	return []string{
		"NATS_USER=bridge", "NATS_INBOX_PREFIX=_INBOX.bridge", "NATS_PASSWORD_FILE=" + filepath.Join(a.secrets, "nats-bridge-password"),
		"REDIS_USERNAME=bridge", "REDIS_PASSWORD_FILE=" + filepath.Join(a.secrets, "redis-bridge-password"),
	}
}
