package admin

import (
	"bytes"
	"os"
	"strconv"
)

// rss is the memory of this process that is in the machine's; 0: not known.
func rss() uint64 {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(string(fields[1]), 10, 64) // 0 when it is no number
	return pages * uint64(os.Getpagesize())
}
