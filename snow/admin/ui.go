package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"path"
	"strings"

	"rain/snow/httpfile"
)

// uiPrefix is where the page's files are; the page itself is at "/".
const uiPrefix = "/gui/"

// uiFile is a file of the page, and its gzip if the build made one.
type uiFile struct {
	kind        string
	etag        string
	plain, gzip []byte
}

// loadUI reads all files of the page; there are few and they are small. A
// program that was built without the page has none.
func loadUI(files fs.FS) (map[string]*uiFile, error) {
	out := map[string]*uiFile{}
	if files == nil {
		return out, nil
	}
	list, err := fs.ReadDir(files, ".")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("admin: the page's files: %w", err)
	}
	for _, d := range list {
		if d.IsDir() || strings.HasPrefix(d.Name(), ".") || strings.HasSuffix(d.Name(), ".gz") {
			continue
		}
		b, err := fs.ReadFile(files, d.Name())
		if err != nil {
			return nil, fmt.Errorf("admin: the page's files: %w", err)
		}
		sum := sha256.Sum256(b)
		f := &uiFile{kind: uiType(d.Name()), etag: hex.EncodeToString(sum[:12]), plain: b}
		if z, err := fs.ReadFile(files, d.Name()+".gz"); err == nil && len(z) > 0 {
			f.gzip = z
		}
		out[d.Name()] = f
	}
	return out, nil
}

func uiType(name string) string {
	switch path.Ext(name) { // what the machine's own table says must not matter
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".txt":
		return "text/plain; charset=utf-8"
	}
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		return t
	}
	return "application/octet-stream"
}

// ui answers for the page, which is no secret: what it shows it asks for with
// the token. It reports whether the path is one of its own.
func (c *call) ui(raw string) (bool, error) {
	name, ours := strings.CutPrefix(raw, uiPrefix)
	switch {
	case raw == "/":
		name = "index.html"
	case !ours:
		return false, nil
	}
	if err := c.allow("GET"); err != nil {
		return true, err
	}
	f := c.s.ui[name]
	if f == nil && name == "index.html" {
		return true, c.withoutPage()
	}
	if f == nil {
		return true, noSuchPath(raw)
	}
	h := &c.Response.Header
	h.Set("Cache-Control", "public, max-age=31536000, immutable") // the names have a hash in them
	if name == "index.html" || !strings.Contains(name, "-") {
		h.Set("Cache-Control", "no-cache")
	}
	h.Set("Content-Security-Policy", c.s.policy())
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	out := &httpfile.File{ETag: `"` + f.etag + `"`, ContentType: f.kind, Size: int64(len(f.plain)), Small: f.plain}
	if f.gzip != nil {
		out.VaryCoding = true
		sizes := [4]int64{int64(len(f.plain)), -1, -1, int64(len(f.gzip))}
		if httpfile.Choose(c.Request.Header.Peek("Accept-Encoding"), sizes) == httpfile.Gzip {
			out.ETag, out.Coding, out.Small, out.Size = `"`+f.etag+`-gz"`, httpfile.Gzip, f.gzip, int64(len(f.gzip))
		}
	}
	return true, httpfile.Serve(c.RequestCtx, out, nil, nil)
}

// policy lets the page run and load its own files only, and talk to the
// cluster's admin addresses and to the demo that runs this node.
func (s *Server) policy() string {
	more := ""
	if s.deps.Origins != nil {
		for _, o := range origins(s.deps.Origins()) {
			more += " " + o
		}
	}
	for _, o := range origins([]string{s.cfg.Control}) {
		more += " " + o
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'" + more +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

const plainPage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>RAIN</title>
</head>
<body>
<h1>This node runs, without its page</h1>
<p>The program was built without npm, so the live picture of the cluster is missing; <code>make build</code> on a machine with npm adds it.</p>
<p><code>rainctl status</code>, <code>rainctl ring events --follow</code> and <code>/metrics</code> tell the same in words and numbers.</p>
</body>
</html>
`

func (c *call) withoutPage() error {
	c.Response.Header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	c.SetContentType("text/html; charset=utf-8")
	c.SetBodyString(plainPage)
	return nil
}
