package gateway

import (
	"bytes"
	"compress/gzip"
	"embed"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/codewar/socketbridge/gateway/sio"
)

// clientDist is dist and LICENSE of npm's socket.io-client, as `make client` copies them
// from gateway/console/web/node_modules.
//
//go:embed client-dist
var clientDist embed.FS

// clientFiles are the files of the stock client that a Socket.IO server offers, by name.
var clientFiles = openClientFiles()

// clientFile is one of them. Safe for concurrent use.
type clientFile struct {
	text    []byte
	zipped  func() []byte // text, compressed at the first call
	kind    string        // the Content-Type
	version string        // of the client
}

// banner begins socket.io.js and names the version.
var banner = regexp.MustCompile(`^/\*!\s+\* Socket\.IO v(\S+)`)

func openClientFiles() map[string]*clientFile {
	const dist = "client-dist"
	main, err := clientDist.ReadFile(path.Join(dist, "socket.io.js"))
	if err != nil {
		panic(err) // the binary was built without the file
	}
	version := string(banner.FindSubmatch(main)[1])
	entries, err := fs.ReadDir(clientDist, dist)
	if err != nil {
		panic(err)
	}
	files := make(map[string]*clientFile)
	for _, e := range entries {
		kind, served := map[string]string{
			".js":  "application/javascript; charset=utf-8",
			".map": "application/json; charset=utf-8",
		}[path.Ext(e.Name())]
		if !served {
			continue // the licence, which each file names in its banner
		}
		text, err := clientDist.ReadFile(path.Join(dist, e.Name()))
		if err != nil {
			panic(err)
		}
		files[e.Name()] = &clientFile{text, sync.OnceValue(func() []byte { return gzipped(text) }), kind, version}
	}
	return files
}

func gzipped(text []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // fails for a level that does not exist
	_, _ = w.Write(text)                                  // a buffer takes all
	_ = w.Close()
	return b.Bytes()
}

// serveClientFile answers with a file of the stock client, as Socket.IO's server does: the
// entity tag is the client's version, caches must revalidate, and pages of every origin may
// load a script (the origin rule is for handshakes).
func serveClientFile(c echo.Context) error {
	f := clientFiles[c.Param("file")]
	if f == nil {
		return echo.ErrNotFound
	}
	request, header := c.Request().Header, c.Response().Header()
	tag := strconv.Quote(f.version)
	header.Set("ETag", tag)
	header.Set("Cache-Control", "public, max-age=0")
	header.Add("Vary", "Accept-Encoding")
	if hasTag(request.Values("If-None-Match"), tag) {
		return c.NoContent(http.StatusNotModified)
	}
	body := f.text
	if sio.AcceptsGzip(request) {
		header.Set("Content-Encoding", "gzip")
		body = f.zipped()
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	return c.Blob(http.StatusOK, f.kind, body) // net/http leaves the body out for HEAD
}

// hasTag reports whether If-None-Match names a tag, by weak comparison (RFC 9110, section 13.1.2).
func hasTag(lines []string, tag string) bool {
	return slices.ContainsFunc(strings.Split(strings.Join(lines, ","), ","), func(each string) bool {
		each = strings.TrimSpace(each)
		return each == "*" || strings.TrimPrefix(each, "W/") == tag
	})
}
