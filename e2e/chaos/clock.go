package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// clocked is wide, with a Redis whose clock can be set.
var clocked = topology{name: "one NATS, one Redis with a clock of its own, four bridges", nats: 1, redis: clockRedis, bridges: 4, needs: []string{"cc"}}

// clockSource stands before the C library's clock: it adds the seconds that are in the file
// that CHAOS_CLOCK names.
const clockSource = `#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *shift;

__attribute__((constructor)) static void begin(void) {
	int fd = open(getenv("CHAOS_CLOCK"), O_RDONLY);
	void *m = mmap(0, 8, PROT_READ, MAP_SHARED, fd, 0);
	if (m != MAP_FAILED) shift = m;
}

int clock_gettime(clockid_t id, struct timespec *t) {
	long r = syscall(SYS_clock_gettime, id, t);
	if (r == 0 && shift && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) t->tv_sec += *shift;
	return r;
}

int gettimeofday(struct timeval *v, void *zone) {
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	v->tv_sec = t.tv_sec;
	v->tv_usec = t.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *p) {
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	if (p) *p = t.tv_sec;
	return t.tv_sec;
}
`

func clockFile(dir string) string { return filepath.Join(dir, "clock") }

// clockRedis is a single server with a clock that setClock sets.
func clockRedis(dir string, net *network, args []string) (*redisServers, error) {
	s := &redisServers{}
	source, library := filepath.Join(dir, "clock.c"), filepath.Join(dir, "clock.so")
	if err := os.WriteFile(source, []byte(clockSource), 0o600); err != nil {
		return s, fmt.Errorf("write clock: %w", err)
	}
	if err := setClock(dir, 0); err != nil {
		return s, err
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-O1", "-o", library, source).CombinedOutput(); err != nil {
		return s, fmt.Errorf("compile clock: %w\n%s", err, out)
	}
	s.extra = []string{"LD_PRELOAD=" + library, "CHAOS_CLOCK=" + clockFile(dir)}
	r, err := s.add("redis-server", "redis", dir, net, args)
	if err != nil {
		return s, err
	}
	s.env = []string{"REDIS_ADDRS=" + r.gate}
	return s, nil
}

// setClock shifts the clock, in whole seconds. The file is mapped, so it is written in place.
func setClock(dir string, shift time.Duration) error {
	f, err := os.OpenFile(clockFile(dir), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("set clock: %w", err)
	}
	_, err = f.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(shift/time.Second)), 0)
	if err2 := f.Close(); err == nil {
		err = err2
	}
	return err
}

// turnClockBack: as a virtual machine's clock is set that was ahead.
func turnClockBack(ctx context.Context, r *run) error {
	before := r.redis.all[0].client.Time(ctx).Val()
	if err := setClock(r.dir, -2*time.Minute); err != nil {
		return err
	}
	if after := r.redis.all[0].client.Time(ctx).Val(); after.After(before) {
		return fmt.Errorf("the clock went from %v to %v", before, after)
	}
	return nil
}
