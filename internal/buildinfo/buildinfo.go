// Package buildinfo tells which build of the program this is.
package buildinfo

import "runtime/debug"

// Version is set by the release build:
// -ldflags "-X github.com/codewar/socketbridge/internal/buildinfo.Version=v1.2.3".
var Version = "dev"

// Revision returns the commit that the binary was built from, if the build recorded it.
func Revision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown revision"
}
