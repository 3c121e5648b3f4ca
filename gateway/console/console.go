// Package console is the pages that the bridge serves, as they are built: the
// operators' console, and the one that a newcomer tries it on. Their sources and tools
// are in web; what those make is in dist and committed, so that building the bridge
// needs no Node.
package console

import (
	"bytes"
	"embed"
	"encoding/json"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed all:dist
var dist embed.FS

// Path is where the console is. It asks for its assets below that.
const Path = "/console"

// TryItPath is where the assets of the newcomer's page are; the page itself is at /.
const TryItPath = "/tryit"

// policy lets a page load nothing but what this server gives it, and no other
// page embed it.
const policy = "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"

// types are the kinds of files that there may be. The machine's own table of them
// is not asked: it differs from one to the next.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml", ".woff2": "font/woff2", ".txt": "text/plain; charset=utf-8",
}

// ServeHTTP serves the console at [Path] and its files below.
func ServeHTTP(w http.ResponseWriter, r *http.Request) {
	serve(w, r, "console", strings.TrimPrefix(r.URL.Path, Path))
}

// TryIt serves the newcomer's page: two browsers, a form that sends, and the code that
// did it, in which its fields are shown.
type TryIt struct {
	NATS          string `json:"nats"` // where publishers on this machine reach the server
	SubjectPrefix string `json:"subjectPrefix"`
}

// ServeHTTP serves the page at / and its files below [TryItPath].
func (t TryIt) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == TryItPath+"/config.json" {
		headers(w, "application/json")
		_ = json.NewEncoder(w).Encode(t) // a browser that has left needs none
		return
	}
	serve(w, r, "tryit", strings.TrimPrefix(r.URL.Path, TryItPath))
}

// serve answers with a file of one page. The assets' names carry a hash of what is in
// them, so browsers may keep them for ever; the page is asked for each time.
func serve(w http.ResponseWriter, r *http.Request, page, name string) {
	name = strings.Trim(name, "/")
	if name == "" {
		name = "index.html"
	}
	data, err := fs.ReadFile(dist, path.Join("dist", page, path.Clean("/"+name)))
	kind, known := types[path.Ext(name)]
	if err != nil || !known {
		http.NotFound(w, r)
		return
	}
	headers(w, kind)
	if strings.HasPrefix(name, "assets/") {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func headers(w http.ResponseWriter, kind string) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
}
