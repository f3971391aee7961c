package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	"rain/snow/admin"
	"rain/snow/site"
)

const (
	uploads       = 8 // at once
	publishRounds = 3
)

// Published is the outcome of PublishSite. Skipped are hidden files, which are
// not published (but .well-known is).
type Published struct {
	site.Result
	Skipped []string `json:"skipped,omitempty"`
}

// PublishSite makes the tree the site of host: at once and everywhere, or not
// at all. It uploads what the cluster lacks, 8 files at a time. A symbolic link
// is followed if it stays in the tree and names a file; else it is refused.
func (c *Client) PublishSite(ctx context.Context, host string, dir fs.FS, def bool) (Published, error) {
	var p Published
	order := admin.PublishOrder{Default: def, Manifest: site.Manifest{Files: make(map[string]site.File)}}
	bySHA := make(map[string]string)
	var shas []string
	err := fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := path.Base(name); base != "." && base != ".well-known" && strings.HasPrefix(base, ".") {
			p.Skipped = append(p.Skipped, name)
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		f, err := describe(ctx, dir, name, d)
		if err != nil {
			return err
		}
		order.Files[name] = f
		if _, ok := bySHA[f.SHA256]; !ok {
			bySHA[f.SHA256] = name
			shas = append(shas, f.SHA256)
		}
		return nil
	})
	if err != nil {
		return p, fmt.Errorf("client: publish %s: %w", host, err)
	}
	if err := order.Validate(); err != nil {
		return p, &Error{Status: 422, ErrorBody: admin.ErrorBody{Code: "bad_input", Text: err.Error()}}
	}
	for round := 1; ; round++ {
		var miss admin.MissingAnswer
		if err := c.post(ctx, sitePath(host)+"/missing", map[string][]string{"sha256": shas}, &miss); err != nil {
			return p, err
		}
		sent, err := c.upload(ctx, host, dir, order.Files, bySHA, miss.Missing)
		if err != nil {
			return p, err
		}
		var a admin.PublishedAnswer
		err = c.post(ctx, sitePath(host)+"/publish", order, &a)
		var e *Error
		if round < publishRounds && errors.As(err, &e) && e.Code == "missing_files" {
			p.SentBytes += sent // another publish swept them away meanwhile
			continue
		}
		sent += p.SentBytes
		p.Result = a.Result
		p.SentBytes = sent
		return p, err
	}
}

// describe reads a file for its hash, size and type.
func describe(ctx context.Context, dir fs.FS, name string, d fs.DirEntry) (site.File, error) {
	if err := ctx.Err(); err != nil {
		return site.File{}, err
	}
	if d.Type()&fs.ModeSymlink != 0 {
		if target, err := fs.ReadLink(dir, name); err == nil && escapes(name, target) {
			return site.File{}, fmt.Errorf("%s is a symbolic link that leaves the tree (%s); copy the file instead", name, target)
		}
	}
	f, err := dir.Open(name)
	if err != nil {
		return site.File{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return site.File{}, err
	}
	if !info.Mode().IsRegular() {
		return site.File{}, fmt.Errorf("%s is not a regular file (%s) and can't be published", name, info.Mode().Type())
	}
	h := sha256.New()
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return site.File{}, err
	}
	h.Write(head[:n])
	rest, err := io.Copy(h, f)
	if err != nil {
		return site.File{}, err
	}
	typ := site.TypeByPath(name)
	if typ == "" || typ == "application/octet-stream" {
		typ = http.DetectContentType(head[:n])
	}
	return site.File{SHA256: hex.EncodeToString(h.Sum(nil)), Size: int64(n) + rest, Type: typ, Modified: info.ModTime().UTC()}, nil
}

func escapes(name, target string) bool {
	if path.IsAbs(target) {
		return true
	}
	p := path.Join(path.Dir(name), target)
	return p == ".." || strings.HasPrefix(p, "../")
}

// upload sends the missing bodies and returns how many bytes they had.
func (c *Client) upload(ctx context.Context, host string, dir fs.FS, files map[string]site.File, bySHA map[string]string, missing []string) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var sent atomic.Int64
	work := make(chan string)
	var wg sync.WaitGroup
	for range min(uploads, len(missing)) {
		wg.Go(func() {
			for sha := range work {
				name := bySHA[sha]
				r := request{method: "PUT", path: sitePath(host) + "/blobs/" + sha, size: files[name].Size}
				r.body = func() (io.ReadCloser, error) { return dir.Open(name) }
				if err := c.call(ctx, r, nil); err != nil {
					cancel(fmt.Errorf("client: upload %s: %w", name, err))
					return
				}
				sent.Add(files[name].Size)
			}
		})
	}
feed:
	for _, sha := range missing {
		if _, ok := bySHA[sha]; !ok {
			cancel(fmt.Errorf("client: the node asks for %q, which is no file of this site", sha))
			break
		}
		select {
		case work <- sha:
		case <-ctx.Done():
			break feed
		}
	}
	close(work)
	wg.Wait()
	return sent.Load(), context.Cause(ctx)
}
