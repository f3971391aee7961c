package site

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// ErrLink says that a folder to publish has a symbolic link or a special file.
var ErrLink = errors.New("only folders and regular files can be published; replace it by a copy")

// Scan makes the manifest of a folder.
func Scan(dir fs.FS) (Manifest, error) {
	m := Manifest{Files: map[string]File{}}
	err := fs.WalkDir(dir, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("site: reading %s: %w", path, err)
		}
		if d.IsDir() {
			return nil
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("site: %s: %w", path, ErrLink)
		}
		if len(m.Files) == MaxFiles {
			return fmt.Errorf("site: the folder has more than %d files", MaxFiles)
		}
		m.Files[path], err = scanFile(dir, path)
		return err
	})
	if err != nil {
		return Manifest{}, err
	}
	return m, m.Validate()
}

func scanFile(dir fs.FS, path string) (File, error) {
	f, err := dir.Open(path)
	if err != nil {
		return File{}, fmt.Errorf("site: opening %s: %w", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return File{}, fmt.Errorf("site: reading %s: %w", path, err)
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return File{}, fmt.Errorf("site: reading %s: %w", path, err)
	}
	return File{SHA256: hex.EncodeToString(h.Sum(nil)), Size: n, Type: TypeByPath(path), Modified: info.ModTime()}, nil
}

// Publish makes the files of a folder the version of host that is served. It
// sends only what the store lacks.
func (p *Publisher) Publish(ctx context.Context, host string, dir fs.FS, asDefault bool) (Result, error) {
	m, err := Scan(dir)
	if err != nil {
		return Result{}, err
	}
	paths := make(map[string]string, len(m.Files))
	shas := make([]string, 0, len(m.Files))
	for path, f := range m.Files {
		if _, twice := paths[f.SHA256]; !twice {
			paths[f.SHA256] = path
			shas = append(shas, f.SHA256)
		}
	}
	missing, err := p.Have(ctx, host, shas)
	if err != nil {
		return Result{}, err
	}
	var sent int64
	for range commitTries {
		for _, sha := range missing {
			if err := p.upload(ctx, host, sha, dir, paths[sha]); err != nil {
				return Result{}, err
			}
			sent += m.Files[paths[sha]].Size
		}
		res, err := p.Commit(ctx, host, m, asDefault)
		res.SentBytes = sent
		var gone *MissingError
		if !errors.As(err, &gone) {
			return res, err
		}
		missing = gone.SHA256 // deleted by another publisher meanwhile
	}
	return Result{}, fmt.Errorf("site: publishing %s: %w", host, ErrBusy)
}

func (p *Publisher) upload(ctx context.Context, host, sha string, dir fs.FS, path string) error {
	f, err := dir.Open(path)
	if err != nil {
		return fmt.Errorf("site: opening %s: %w", path, err)
	}
	defer f.Close()
	if err := p.PutBlob(ctx, host, sha, f); err != nil {
		return fmt.Errorf("site: sending %s: %w", path, err)
	}
	return nil
}
