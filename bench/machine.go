package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// circumstances are what a figure is worth nothing without.
func circumstances(ctx context.Context, p programs) string {
	var b strings.Builder
	fmt.Fprintf(&b, "- Machine: %s, %d cores, Linux %s\n", processor(), runtime.NumCPU(), kernel())
	fmt.Fprintf(&b, "- Versions: %s; node %s; %s; %s; %s\n", runtime.Version(), said(ctx, "node", "--version"),
		said(ctx, "redis-server", "--version"), said(ctx, p.nats, "--version"), dependencies(p.peer))
	fmt.Fprintf(&b, "- Sources: %s\n", said(ctx, "git", "describe", "--always", "--dirty"))
	fmt.Fprintf(&b, "- Command: go run ./bench %s\n", strings.Join(os.Args[1:], " "))
	return b.String()
}

func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(info)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err.Error()
	}
	return unix.ByteSliceToString(u.Release[:])
}

// said is the first line of what a program prints, or why there is none.
func said(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return name + ": " + err.Error()
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}

// dependencies are the peer's, with their versions.
func dependencies(dir string) string {
	var manifest struct {
		Dependencies map[string]string `json:"dependencies"`
	}
	text, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err == nil {
		err = json.Unmarshal(text, &manifest)
	}
	if err != nil {
		return err.Error()
	}
	var all []string
	for _, name := range []string{"socket.io", "express", "ioredis", "nats"} {
		all = append(all, name+" "+manifest.Dependencies[name])
	}
	return strings.Join(all, ", ")
}
