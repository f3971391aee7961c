// Package assets holds what is embedded in the programs: the demo site and the
// documentation. Everything is read-only.
package assets

import (
	"embed"
	"io/fs"
)

//go:embed all:site
var site embed.FS

//go:embed all:docs
var docs embed.FS

// DemoSite is the website that the demo publishes.
func DemoSite() fs.FS { return sub(site, "site") }

// Docs is the documentation, as Markdown files.
func Docs() fs.FS { return sub(docs, "docs") }

func sub(f embed.FS, dir string) fs.FS {
	s, err := fs.Sub(f, dir)
	if err != nil {
		panic(err) // the folder is embedded by the line above: only a bug can do this
	}
	return s
}
