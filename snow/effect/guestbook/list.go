package guestbook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"rain/store"
	"rain/store/catalog"
)

// Entry is a text in the book.
type Entry struct {
	ID   uint64    `json:"id"`
	Key  string    `json:"key"`
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// Listing is a list in JSON. Next is the after of the next page; 0: there is none.
type Listing struct {
	Count   int     `json:"count"` // of the whole book
	Entries []Entry `json:"entries"`
	Next    uint64  `json:"next"`
}

const (
	maxListBytes = 8 << 20
	listPage     = 1000
)

var errManyReaders = errors.New("the book is read by too many at once; try again")

// list answers a GET.
func (b *Book) list(ctx *fasthttp.RequestCtx) {
	select {
	case b.readers <- struct{}{}:
		defer func() { <-b.readers }()
	default:
		b.refuse(ctx, post{}, errManyReaders)
		return
	}
	q := ctx.QueryArgs()
	if wantsPage(ctx) {
		b.page(ctx, fasthttp.StatusOK, view{Before: number(q.Peek("before"))})
		return
	}
	limit := int(min(number(q.Peek("limit")), 1<<30))
	l, err := b.entries(number(q.Peek("after")), limit)
	var body []byte
	if err == nil {
		body, err = json.Marshal(l)
	}
	if err != nil {
		b.refuse(ctx, post{}, err)
		return
	}
	ctx.Response.Header.Set("Cache-Control", "no-store")
	ctx.SetContentType("application/json")
	ctx.SetBody(append(body, '\n'))
}

// number reads a query argument; what is none counts as 0.
func number(b []byte) uint64 {
	n, err := strconv.ParseUint(string(b), 10, 63)
	if err != nil {
		return 0
	}
	return n
}

// entries lists those after an id, ascending; limit 0: all that fit.
func (b *Book) entries(after uint64, limit int) (Listing, error) {
	ctx, cancel := context.WithTimeout(context.Background(), b.cfg.Timeout)
	defer cancel()
	l := Listing{Count: b.deps.Store.Count(Bucket), Entries: []Entry{}}
	size := 0
	next := catalog.AppendedKey("", after)
	for next != "" {
		var infos []store.Info
		var err error
		infos, next, err = b.deps.Store.List(Bucket, "", next, listPage)
		if errors.Is(err, store.ErrNoBucket) {
			return l, nil // nobody has written yet
		}
		if err != nil {
			return l, fmt.Errorf("guestbook: list: %w", err)
		}
		for i := range infos {
			if limit > 0 && len(l.Entries) >= limit || size > maxListBytes {
				l.Next = l.Entries[len(l.Entries)-1].ID
				return l, nil
			}
			e, ok, err := b.entry(ctx, &infos[i])
			if err != nil {
				return l, err
			}
			if ok {
				l.Entries = append(l.Entries, e)
				size += len(e.Text) + 200
			}
		}
	}
	return l, nil
}

// entry reads a text; false: the object is none of the book's, or is gone.
func (b *Book) entry(ctx context.Context, i *store.Info) (Entry, bool, error) {
	id, err := strconv.ParseUint(i.Key, 10, 63)
	if err != nil || i.Size > MaxText || i.Key != catalog.AppendedKey("", id) {
		return Entry{}, false, nil // an operator may put what he likes into the bucket
	}
	o, err := b.deps.Store.Open(ctx, i.Bucket, i.Key)
	if errors.Is(err, store.ErrNotFound) {
		return Entry{}, false, nil // deleted meanwhile
	}
	if err != nil {
		return Entry{}, false, fmt.Errorf("guestbook: entry %d: %w", id, err)
	}
	text := o.Body.Bytes()
	if text == nil {
		text, err = io.ReadAll(io.NewSectionReader(o.Body, 0, min(o.Size, MaxText)))
	}
	e := Entry{ID: id, Key: i.Meta[keyMeta], Time: i.Modified, Text: string(text)}
	if err = errors.Join(err, o.Body.Close()); err != nil {
		return Entry{}, false, fmt.Errorf("guestbook: entry %d: %w", id, err)
	}
	return e, true, nil
}

// newest lists up to PageSize entries before an id (0: all), newest first.
func (b *Book) newest(before uint64) (list []Entry, more bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), b.cfg.Timeout)
	defer cancel()
	key := ""
	if before > 0 {
		key = catalog.AppendedKey("", before)
	}
	infos, more := b.deps.Store.ListBack(Bucket, key, PageSize)
	for i := range infos {
		e, ok, err := b.entry(ctx, &infos[i])
		if err != nil {
			return list, more, err
		}
		if ok {
			list = append(list, e)
		}
	}
	return list, more, nil
}
