package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// natsRows are faults of the stream and of the servers that keep it.
func natsRows() []*row {
	return []*row{
		{name: "stream restored", on: wide, asked: asked, silence: mostSilence, ci: true, during: 8, fault: restoreStream},
		{name: "stream purged", on: wide, asked: asked, silence: mostSilence, during: 6, fault: purgeStream},
		{name: "nats leader killed", on: quorum, asked: asked, silence: mostSilence, fault: killStreamLeader},
		{name: "nats quorum lost", on: quorum, asked: asked, fault: loseQuorum},
		{name: "nats disk full", on: cramped, asked: asked, env: []string{"NATS_STREAM_MAX_BYTES=16777216", "NATS_DEAD_LETTER_MAX_BYTES=1048576"}, fault: fillDisk},
		{name: "embedded block damaged", on: embedded, silence: mostSilence, during: 6, fault: embeddedDamage(damageBlock)},
		{name: "embedded tail lost", on: embedded, silence: mostSilence, during: 6, fault: embeddedDamage(loseTail)},
	}
}

// restoreStream: an operator puts a backup in its place that is some seconds old.
func restoreStream(ctx context.Context, r *run) error {
	b, err := backUp(ctx, r.publishers.nc, "CODEWAR")
	if err != nil {
		return err
	}
	if err := r.pause(ctx, 2*r.scale.unit); err != nil {
		return err
	}
	return r.held(ctx, func() error {
		var err error
		for range 20 { // a bridge may make the stream anew in between
			if err = r.js.DeleteStream(ctx, "CODEWAR"); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
				return fmt.Errorf("delete the stream: %w", err)
			}
			if err = b.restore(r.publishers.nc); err == nil {
				return nil
			}
		}
		return err
	})
}

// purgeStream: everything that it holds goes.
func purgeStream(ctx context.Context, r *run) error {
	return r.held(ctx, func() error {
		stream, err := r.js.Stream(ctx, "CODEWAR")
		if err == nil {
			err = stream.Purge(ctx)
		}
		if err != nil {
			return fmt.Errorf("purge the stream: %w", err)
		}
		return nil
	})
}

// killStreamLeader: SIGKILL of the server that leads the stream.
func killStreamLeader(ctx context.Context, r *run) error {
	stream, err := r.js.Stream(ctx, "CODEWAR")
	if err != nil {
		return fmt.Errorf("look at the stream: %w", err)
	}
	server, err := r.nats.at(stream.CachedInfo().Cluster.Leader)
	if err != nil {
		return err
	}
	server.Kill()
	if err := r.pause(ctx, r.scale.away/2); err != nil {
		return err
	}
	return server.start()
}

// loseQuorum: two of three servers are killed.
func loseQuorum(ctx context.Context, r *run) error {
	for _, s := range r.nats[1:] {
		s.Kill()
	}
	if err := r.pause(ctx, r.scale.away/3); err != nil {
		return err
	}
	for _, s := range r.nats[1:] {
		if err := s.start(); err != nil {
			return err
		}
	}
	return nil
}

// embeddedDamage: SIGKILL of a bridge with its own NATS server, and its files are no longer
// what they were when it starts again.
func embeddedDamage(damage func(block string) error) func(context.Context, *run) error {
	return func(ctx context.Context, r *run) error {
		return r.held(ctx, func() error {
			n := r.bridges[0]
			n.Kill()
			blocks, err := filepath.Glob(filepath.Join(r.embeddedDir(), "jetstream", "*", "streams", "CODEWAR", "msgs", "*.blk"))
			if err != nil || len(blocks) == 0 {
				return errors.Join(errors.New("no blocks"), err)
			}
			if err := damage(slices.Max(blocks)); err != nil {
				return fmt.Errorf("damage %v: %w", blocks, err)
			}
			if err := n.Start(); err != nil {
				return err
			}
			return n.ready()
		})
	}
}

// damageBlock writes over a part of the middle.
func damageBlock(block string) error {
	s, err := os.Stat(block)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(block, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, 100), s.Size()*3/4)
	return errors.Join(err, f.Close())
}

// loseTail ends the block some messages earlier, as when the power fails.
func loseTail(block string) error {
	s, err := os.Stat(block)
	if err != nil {
		return err
	}
	return os.Truncate(block, s.Size()*9/10)
}

// cramped is wide, with NATS on a disk that can be filled, which only root can make.
var cramped = topology{name: "one NATS on a small disk, one Redis, four bridges", nats: 1, redis: oneRedis("redis-server"), bridges: 4, disk: 64 << 20}

// fillDisk: no byte is left where NATS keeps its stream, until an operator makes room. A
// nats-server that has failed to write stores nothing before it is started again.
func fillDisk(ctx context.Context, r *run) error {
	ballast := filepath.Join(r.dir, natsName(0), "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		return fmt.Errorf("fill disk: %w", err)
	}
	for b := make([]byte, 64<<10); err == nil; {
		if _, err = f.Write(b); err != nil && len(b) > 1 {
			b, err = b[:len(b)/2], nil
		}
	}
	_ = f.Close()
	if !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("fill disk: %w", err)
	}
	err = r.pause(ctx, r.scale.away/3)
	if err := errors.Join(err, os.Remove(ballast)); err != nil {
		return err
	}
	r.nats[0].Kill()
	return r.nats[0].start()
}

// mountDisk makes a disk of so many bytes.
func mountDisk(dir string, size int) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make disk: %w", err)
	}
	if err := syscall.Mount("chaos", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		return fmt.Errorf("make disk: %w", err)
	}
	return nil
}

// unmountDisk does what it can: a server that was just killed may hold it a moment longer.
func unmountDisk(dir string) {
	for range 50 {
		if syscall.Unmount(dir, 0) == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}
