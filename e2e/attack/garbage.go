package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// plantGarbage replaces every key of the bridges in Redis by a value of another type, as a
// program with the wrong configuration would, and leaves it there for a while. The bridges
// must live, and serve again once an operator has deleted the keys. It returns what a bridge
// did wrong.
func (c *cluster) plantGarbage(ctx context.Context, during time.Duration) (wrong []string, err error) {
	password, err := c.accounts.secret("redis-bridge-password")
	if err != nil {
		return nil, err
	}
	client := redis.NewClient(&redis.Options{Addr: c.redisAddr, Username: admin, Password: password})
	defer func() { _ = client.Close() }()
	keys, err := client.Keys(ctx, "bridge:*").Result()
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	if len(keys) < users {
		return nil, fmt.Errorf("the bridges have %d keys in redis, fewer than users", len(keys))
	}
	_, err = client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, key := range keys {
			p.Del(ctx, key)
			if i%2 == 0 {
				p.Set(ctx, key, "garbage", 0)
			} else {
				p.RPush(ctx, key, "garbage")
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("plant garbage: %w", err)
	}
	wait(ctx, during)
	for _, b := range c.bridges() {
		if _, err := b.metrics(ctx); err != nil {
			wrong = append(wrong, fmt.Sprintf("garbage in redis: %s: %v", b.name, err))
		}
	}
	// What the bridges have written over or deleted themselves must not be deleted here.
	for _, key := range keys {
		kind, err := client.Type(ctx, key).Result()
		if err != nil {
			return nil, fmt.Errorf("read type: %w", err)
		}
		if isGarbage(ctx, client, key, kind) {
			if err := client.Del(ctx, key).Err(); err != nil {
				return nil, fmt.Errorf("delete garbage: %w", err)
			}
		}
	}
	for _, b := range c.bridges() {
		if err := waitFor(ctx, 45*time.Second, func() string { return notReady(b.addr) }); err != nil {
			wrong = append(wrong, fmt.Sprintf("garbage in redis: %s is not ready after it was deleted: %v", b.name, err))
		}
	}
	return wrong, nil
}

func isGarbage(ctx context.Context, client *redis.Client, key, kind string) bool {
	switch kind {
	case "string":
		return client.Get(ctx, key).Val() == "garbage"
	case "list":
		return strings.Join(client.LRange(ctx, key, 0, 1).Val(), " ") == "garbage"
	}
	return false
}
