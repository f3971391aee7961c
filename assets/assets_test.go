package assets

import (
	"io/fs"
	"testing"
)

func TestEmbedded(t *testing.T) {
	for name, f := range map[string]fs.FS{"index.html": DemoSite(), "ring.md": Docs()} {
		b, err := fs.ReadFile(f, name)
		if err != nil || len(b) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}
