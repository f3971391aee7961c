// Package assets holds what is embedded in the programs: the demo site and its
// film, the player, the page of the admin address, and the documentation. Everything is read-only.
package assets

import (
	"embed"
	"io/fs"
)

//go:embed all:site
var site embed.FS

//go:embed all:docs
var docs embed.FS

//go:embed film/demo.mp4
var film []byte

//go:embed film/demo.jpg
var poster []byte

// dist is made by 'make build' with npm; without that it holds nothing of use.
//
//go:embed all:dist
var dist embed.FS

// DemoSite is the website that the demo publishes.
func DemoSite() fs.FS { return sub(site, "site") }

// DemoFilm is the film that the demo publishes: an MP4 file, a minute long. It
// is not to be changed.
func DemoFilm() []byte { return film }

// DemoPoster is a JPEG picture out of the film. It is not to be changed.
func DemoPoster() []byte { return poster }

// Docs is the documentation, as Markdown files.
func Docs() fs.FS { return sub(docs, "docs") }

// Dist is the built player: player.js and player.css with their gzips, or
// nothing if the program was built without npm.
func Dist() fs.FS { return sub(dist, "dist") }

// GUI is the built page of the admin address: index.html and its files with
// their gzips, or nothing if the program was built without npm.
func GUI() fs.FS { return sub(dist, "dist/gui") }

func sub(f embed.FS, dir string) fs.FS {
	s, err := fs.Sub(f, dir)
	if err != nil {
		panic(err) // the folder is embedded by the lines above: only a bug can do this
	}
	return s
}
