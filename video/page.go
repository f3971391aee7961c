package video

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/netip"
	"path"
	"strings"
	"time"

	"rain/snow/httpfile"
	"rain/video/film"
)

// asset is a file of the player, and its gzip if the build made one.
type asset struct {
	kind        string
	etag        string
	plain, gzip []byte
}

// loadAssets reads all files of the player; there are few and they are small.
func loadAssets(files fs.FS) (map[string]*asset, error) {
	out := map[string]*asset{}
	if files == nil {
		return out, nil
	}
	list, err := fs.ReadDir(files, ".")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("video: the player's files: %w", err)
	}
	for _, d := range list {
		if d.IsDir() || strings.HasPrefix(d.Name(), ".") || strings.HasSuffix(d.Name(), ".gz") {
			continue
		}
		b, err := fs.ReadFile(files, d.Name())
		if err != nil {
			return nil, fmt.Errorf("video: the player's files: %w", err)
		}
		sum := sha256.Sum256(b)
		a := &asset{kind: mimeOf(d.Name()), etag: hex.EncodeToString(sum[:12]), plain: b}
		if z, err := fs.ReadFile(files, d.Name()+".gz"); err == nil && len(z) > 0 {
			a.gzip = z
		}
		out[d.Name()] = a
	}
	return out, nil
}

func mimeOf(name string) string {
	switch path.Ext(name) { // what the machine's own table says must not matter
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

func (r reply) asset(name string) error {
	a := r.s.assets[name]
	if a == nil {
		return ErrNotFound
	}
	f := &httpfile.File{ETag: `"` + a.etag + `"`, ContentType: a.kind, Size: int64(len(a.plain)), Small: a.plain}
	if a.gzip != nil {
		f.VaryCoding = true
		sizes := [4]int64{int64(len(a.plain)), -1, -1, int64(len(a.gzip))}
		if httpfile.Choose(r.Request.Header.Peek("Accept-Encoding"), sizes) == httpfile.Gzip {
			f.ETag, f.Coding, f.Small, f.Size = `"`+a.etag+`-gz"`, httpfile.Gzip, a.gzip, int64(len(a.gzip))
		}
	}
	cache := revise
	if string(r.QueryArgs().Peek("v")) == a.etag {
		cache = forGood
	}
	r.Response.Header.Set("Cache-Control", cache)
	return httpfile.Serve(r.RequestCtx, f, nil, nil)
}

// pageTop is how every page begins.
const pageTop = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
`

// playerPage needs the built player; plainPage does without.
var (
	playerPage = template.Must(template.New("player").Parse(pageTop + `<title>{{.Name}} - RAIN</title>
<link rel="icon" href="/video/-/icon.svg">
<link rel="stylesheet" href="/video/-/player.css?v={{.CSS}}">
<script type="module" async src="/video/-/player.js?v={{.JS}}"></script>
{{if .Other}}<script type="module" async src="http://{{.Other}}/video/-/player.js?v={{.JS}}"></script>
{{end}}</head>
<body>
<main>
<div id="screen"><video id="film" controls playsinline preload="metadata" tabindex="0" width="{{.X.Video.Width}}" height="{{.X.Video.Height}}" aria-label="{{.Name}}"></video><button id="play" type="button" aria-label="Play {{.Name}}" hidden></button></div>
<div id="bar"><h1>{{.Name}}</h1><p id="facts"></p></div>
<p id="now" role="status"></p>
<ol id="segments" aria-label="Which node sent each part of the film"></ol>
<p id="note" role="alert" hidden></p>
<p id="keys"><kbd>space</kbd> play, pause · <kbd>←</kbd> <kbd>→</kbd> 5 s · <kbd>↑</kbd> <kbd>↓</kbd> volume · <kbd>0</kbd>-<kbd>9</kbd> seek · <kbd>m</kbd> mute · <kbd>c</kbd> captions · <kbd>f</kbd> full screen</p>
<noscript><p>Without JavaScript: <a href="film.mp4">the film as one file</a>.</p></noscript>
</main>
</body>
</html>
`))
	plainPage = template.Must(template.New("plain").Parse(pageTop + `<title>{{.Name}} - RAIN</title>
</head>
<body>
<h1>{{.Name}}</h1>
<video controls playsinline preload="metadata" width="{{.X.Video.Width}}" height="{{.X.Video.Height}}" src="film.mp4"></video>
<p>This program was built without its player (no npm when it was made; <code>make build</code> adds it): the film plays as one file and stops when its node dies. Players that know HLS go on: <a href="index.m3u8">index.m3u8</a>.</p>
</body>
</html>
`))
	listPage = template.Must(template.New("list").Parse(pageTop + `<title>Films - RAIN</title>
{{if .CSS}}<link rel="stylesheet" href="/video/-/player.css?v={{.CSS}}">{{end}}
</head>
<body>
<main>
<h1>Films</h1>
<ul id="films">
{{range .Films}}<li><a href="/video/{{.Name}}/">{{if .Poster}}<img src="/video/{{.Name}}/poster.jpg" alt="" width="240" loading="lazy">{{end}}<span>{{.Name}}</span></a> <small>{{.Time}}, {{.Video.Width}} × {{.Video.Height}}</small></li>
{{else}}<li>There are none yet: <code>rainctl video add FILE.mp4</code></li>
{{end}}</ul>
</main>
</body>
</html>
`))
)

// hosts are the virtual addresses, held to what may stand in a header.
func (r reply) hosts() (out []string) {
	if r.s.deps.Hosts != nil {
		for _, h := range r.s.deps.Hosts() {
			if _, err := netip.ParseAddrPort(h); err == nil {
				out = append(out, h)
			}
		}
	}
	return out
}

// policy lets the page run the player's scripts only, and fetch from the hosts
// at which the film is found, too.
func (r reply) policy() string {
	more := ""
	for _, h := range r.hosts() {
		more += " http://" + h
	}
	return "default-src 'none'; script-src 'self'" + more + "; style-src 'self'; img-src 'self'" + more + "; media-src 'self' blob:" + more +
		"; connect-src 'self'" + more + "; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
}

func (r reply) html(t *template.Template, v any) error {
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return fmt.Errorf("video: write a page: %w", err)
	}
	h := &r.Response.Header
	h.Set("Cache-Control", revise)
	h.Set("Content-Security-Policy", r.policy())
	h.Set("Referrer-Policy", "no-referrer")
	return r.memory("text/html; charset=utf-8", b.Bytes())
}

// page is the player of one film.
func (r reply) page(name string, x *film.Index) error {
	in := struct {
		Name, JS, CSS string
		Other         string // where the player is loaded from, too, should this node die in the middle of the page
		X             *film.Index
	}{Name: name, X: x}
	for _, h := range r.hosts() {
		if in.Other == "" && h != string(r.Host()) {
			in.Other = h
		}
	}
	js, css := r.s.assets["player.js"], r.s.assets["player.css"]
	if js == nil || css == nil {
		return r.html(plainPage, in)
	}
	in.JS, in.CSS = js.etag, css.etag
	return r.html(playerPage, in)
}

// listed is a film on the page of all films.
type listed struct{ Film }

// Time is how long the film is, for people.
func (l listed) Time() string {
	d := (time.Duration(l.DurationMS) * time.Millisecond).Round(time.Second)
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

// index is the page of all films.
func (r reply) index(ctx context.Context) error {
	films, err := r.s.Films(ctx)
	if err != nil {
		return err
	}
	in := struct {
		CSS   string
		Films []listed
	}{}
	for _, f := range films {
		in.Films = append(in.Films, listed{f})
	}
	if css := r.s.assets["player.css"]; css != nil {
		in.CSS = css.etag
	}
	return r.html(listPage, in)
}
