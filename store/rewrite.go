package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"rain/ring"
	"rain/store/array"
	"rain/store/catalog"
)

// Rewrite puts the objects of a bucket again that have another code than a new
// one would get, or a column on a node that is no longer of the layout. It
// returns how many. One that is written meanwhile is left to its writer.
func (s *Store) Rewrite(ctx context.Context, bucket string) (n int, err error) {
	for after := ""; ; {
		page, next, err := s.List(bucket, "", after, MaxList)
		if err != nil {
			return n, err
		}
		for _, i := range page {
			rec, err := s.find(bucket, i.Key)
			if errors.Is(err, ErrNotFound) || err == nil && !s.outdated(bucket, rec) {
				continue
			}
			if err == nil {
				err = s.rewrite(ctx, bucket, i.Key)
			}
			if errors.Is(err, ErrPrecondition) || errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return n, fmt.Errorf("store: rewrite %s/%s: %w", bucket, i.Key, err)
			}
			n++
		}
		if after = next; after == "" {
			return n, nil
		}
	}
}

// outdated reports whether a put of the object would lay it out otherwise.
func (s *Store) outdated(bucket string, rec *catalog.Record) bool {
	if rec.Size <= smallBody {
		return false
	}
	all := s.storage()
	g := s.codeFor(bucket, len(all))
	return array.Geometry{N: int(rec.N), K: int(rec.K), Unit: int(rec.Unit)} != g || slices.ContainsFunc(rec.Nodes, func(id ring.NodeID) bool { return !slices.Contains(all, id) })
}

func (s *Store) rewrite(ctx context.Context, bucket, key string) error {
	o, err := s.Open(ctx, bucket, key)
	if err != nil {
		return err
	}
	defer o.Body.Close()
	_, _, err = s.Put(ctx, bucket, key, io.NewSectionReader(o.Body, 0, o.Size), PutOptions{
		ContentType: o.ContentType, Meta: o.Meta, IfMatch: o.ETag, Size: o.Size, SHA256: o.SHA256,
	})
	return err
}
