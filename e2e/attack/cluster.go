package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/e2e/procs"
	"github.com/codewar/socketbridge/gateway/auth"
)

// cluster is what is under attack: two bridges with one NATS and one Redis server. One
// believes every client (auth.mode none), the other asks for tokens and API keys. NATS
// and Redis are processes of their own: what they keep is not the bridges' memory.
type cluster struct {
	accounts       accounts
	nats, redis    *procs.Process
	natsURL        string
	redisAddr      string
	open, guarded  *bridge
	secret, issuer string
	keys           *keyServer
}

// startCluster builds and starts everything. On an error the caller still has to call stop.
func startCluster(ctx context.Context, dir string) (c *cluster, err error) {
	c = &cluster{secret: "attack:" + rand.Text() + rand.Text(), issuer: "https://issuer.test"}
	bin, err := procs.BuildBridge(ctx, dir)
	if err != nil {
		return c, err
	}
	server, err := procs.BuildNATS(ctx, dir)
	if err != nil {
		return c, err
	}
	if c.accounts, err = makeAccounts(ctx, dir); err != nil {
		return c, err
	}
	if c.nats, c.natsURL, err = procs.StartNATS(dir, server, "-c", c.accounts.natsConf()); err != nil {
		return c, fmt.Errorf("start nats: %w", err)
	}
	if c.redis, c.redisAddr, err = procs.StartRedis(dir, "--aclfile", c.accounts.aclFile()); err != nil {
		return c, fmt.Errorf("start redis: %w", err)
	}
	if c.keys, err = startKeyServer(); err != nil {
		return c, err
	}
	if c.open, err = c.startBridge(ctx, dir, bin, "open"); err != nil {
		return c, err
	}
	c.guarded, err = c.startBridge(ctx, dir, bin, "guarded", "AUTH_MODE=jwt", "AUTH_SECRETS="+c.secret, "AUTH_ISSUER="+c.issuer, "AUTH_JWKS_URL="+c.keys.url,
		"ORIGINS=https://codewar.test")
	return c, err
}

func (c *cluster) stop() {
	for _, b := range c.bridges() {
		b.kill()
	}
	if c.keys != nil {
		c.keys.close()
	}
	for _, p := range []*procs.Process{c.redis, c.nats} {
		if p != nil {
			p.Kill()
		}
	}
}

// bridges are those that have started.
func (c *cluster) bridges() (all []*bridge) {
	for _, b := range []*bridge{c.open, c.guarded} {
		if b != nil {
			all = append(all, b)
		}
	}
	return all
}

// token is a token that the guarded bridge accepts.
func (c *cluster) token(user string) (string, error) {
	signer, err := auth.NewSecretSigner(c.secret)
	if err != nil {
		return "", fmt.Errorf("make signer: %w", err)
	}
	token, err := signer.Sign(auth.Config{Issuer: c.issuer, UserClaim: "sub"}, user, time.Hour, nil)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return token, nil
}

// connect connects to NATS as one of the users that deploy/ defines.
func (c *cluster) connect(user string) (*nats.Conn, error) {
	password, err := c.accounts.secret("nats-" + user + "-password")
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(c.natsURL, nats.UserInfo(user, password), nats.CustomInboxPrefix("_INBOX."+user))
	if err != nil {
		return nil, fmt.Errorf("connect to nats: %w", err)
	}
	return nc, nil
}

// target is what the attacker is given: addresses that are public, the token of one user, and
// NATS with the password of each user.
type target struct {
	Open, Guarded string // host and port
	Token         string // of user mallory
	NATS          string
	Passwords     map[string]string
}

func (c *cluster) target() (t target, err error) {
	t = target{Open: c.open.addr, Guarded: c.guarded.addr, NATS: c.natsURL, Passwords: make(map[string]string)}
	for _, user := range []string{"publisher", "operator", "bridge"} {
		if t.Passwords[user], err = c.accounts.secret("nats-" + user + "-password"); err != nil {
			return t, err
		}
	}
	t.Token, err = c.token("mallory")
	return t, err
}
