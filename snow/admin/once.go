package admin

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"rain/ring"
	"rain/snow/effect"
	"rain/store"
	"rain/store/catalog"
)

// KeyScope is the scope of the idempotency keys of this address.
const KeyScope = "admin"

// ObjectEffect is the effect of a write with an Idempotency-Key: the op of a put
// or a delete. Its note is what the answer says beside the op's result.
//
// Input: version u8 = 1 | stored u16 | the catalog's op
//
// Note: version u8 = 1 | 0 u8: a delete, 1 u8: a put | bucket length u8 | bucket |
// key length u16 | key | put only: sha256 [32] | size u64 | modified i64 | n u16 |
// k u16 | stored u16 | the rest: content type
type ObjectEffect struct{}

// Name implements effect.Effect.
func (ObjectEffect) Name() string { return "object" }

const onceVersion = 1

var errOnce = errors.New("admin: not the stored form of a write, or of another version of the program")

func encodeObject(p *store.Prepared) []byte {
	b := append(make([]byte, 0, 3+len(p.Op)), onceVersion)
	return append(binary.BigEndian.AppendUint16(b, uint16(p.Info.Stored)), p.Op...)
}

// Run implements effect.Effect.
func (ObjectEffect) Run(input []byte) (effect.Action, error) {
	if len(input) < 3 || input[0] != onceVersion {
		return effect.Action{}, errOnce
	}
	o, err := catalog.ParseOrder(input[3:])
	if err != nil || o.Append {
		return effect.Action{}, errors.Join(errOnce, err)
	}
	n := note{bucket: o.Bucket, key: o.Key}
	if r := o.Rec; r != nil {
		n.put, n.sum, n.size, n.modified, n.kind = true, r.Sum, uint64(r.Size), r.Modified, r.Type
		n.n, n.k, n.stored = r.N, r.K, binary.BigEndian.Uint16(input[1:])
	}
	return effect.Action{Rider: ring.RiderCatalog, Op: input[3:], Note: n.append(nil)}, nil
}

// Answer implements effect.Effect: what a write without a key would answer,
// without the metadata.
func (ObjectEffect) Answer(b, result []byte) (effect.Response, error) {
	n, err := parseNote(b)
	if err != nil {
		return effect.Response{}, err
	}
	version, created, err := store.Result(result)
	switch {
	case err != nil:
		verb := "delete"
		if n.put {
			verb = "put"
		}
		f := classify(fmt.Errorf("store: %s %s/%s: %w", verb, n.bucket, n.key, err))
		r, err := jsonResponse(f.status, errorAnswer{API, f.ErrorBody})
		if f.status == 503 {
			r.Header = append(r.Header, effect.Field{Name: "Retry-After", Value: "1"})
		}
		return r, err
	case !n.put:
		return effect.Response{Status: 204}, nil
	}
	info := n.info(version)
	r, err := jsonResponse(createdOr200(created), ObjectAnswer{API, info})
	for name, value := range objectFields(info) {
		r.Header = append(r.Header, effect.Field{Name: name, Value: value})
	}
	slices.SortFunc(r.Header, func(a, b effect.Field) int { return strings.Compare(a.Name, b.Name) })
	return r, err
}

func jsonResponse(status int, v any) (effect.Response, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return effect.Response{}, fmt.Errorf("admin: %w", err)
	}
	return effect.Response{Status: status, Body: append(b, '\n'), Header: []effect.Field{{Name: "Content-Type", Value: "application/json"}}}, nil
}

// note is what an outcome keeps of a write.
type note struct {
	put          bool
	bucket, key  string
	sum          catalog.Sum
	size         uint64
	modified     int64
	n, k, stored uint16
	kind         string // content type
}

func (n *note) append(b []byte) []byte {
	flag := byte(0)
	if n.put {
		flag = 1
	}
	b = append(b, onceVersion, flag, byte(len(n.bucket)))
	b = binary.BigEndian.AppendUint16(append(b, n.bucket...), uint16(len(n.key)))
	b = append(b, n.key...)
	if !n.put {
		return b
	}
	b = binary.BigEndian.AppendUint64(append(b, n.sum[:]...), n.size)
	b = binary.BigEndian.AppendUint64(b, uint64(n.modified))
	for _, v := range []uint16{n.n, n.k, n.stored} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return append(b, n.kind...)
}

// parseNote reads what append wrote, and nothing that it would write otherwise.
func parseNote(b []byte) (n note, err error) {
	const fixed = len(n.sum) + 8 + 8 + 3*2
	if len(b) < 5 || b[0] != onceVersion || b[1] > 1 {
		return note{}, errOnce
	}
	n.put = b[1] == 1
	size := int(b[2])
	if b = b[3:]; len(b) < size+2 {
		return note{}, errOnce
	}
	n.bucket, b = string(b[:size]), b[size:]
	size = int(binary.BigEndian.Uint16(b))
	if b = b[2:]; len(b) < size {
		return note{}, errOnce
	}
	n.key, b = string(b[:size]), b[size:]
	switch {
	case !n.put && len(b) == 0:
		return n, nil
	case !n.put || len(b) < fixed:
		return note{}, errOnce
	}
	b = b[copy(n.sum[:], b):]
	n.size, n.modified = binary.BigEndian.Uint64(b), int64(binary.BigEndian.Uint64(b[8:]))
	n.n, n.k, n.stored = binary.BigEndian.Uint16(b[16:]), binary.BigEndian.Uint16(b[18:]), binary.BigEndian.Uint16(b[20:])
	n.kind = string(b[22:])
	return n, nil
}

func (n *note) info(version uint64) store.Info {
	r := catalog.Record{Sum: n.sum, Type: n.kind}.Derive()
	return store.Info{
		Bucket: n.bucket, Key: n.key, Version: version, ETag: r.ETag, SHA256: r.Hex, Size: int64(n.size), ContentType: n.kind,
		Modified: time.Unix(n.modified, 0).UTC(), N: int(n.n), K: int(n.k), Stored: int(n.stored), Survives: max(int(n.stored)-int(n.k), 0),
	}
}

var errNoOnce = fail(501, "no_keys", "this node takes no Idempotency-Key", "send the request without one")

// putOnce is a put with an Idempotency-Key.
func (c *call) putOnce(bucket, name, key string, opt store.PutOptions) error {
	p, ok := c.s.deps.Store.(Preparer)
	if !ok || c.s.deps.Effects == nil {
		return errNoOnce
	}
	var f effect.Fingerprint
	for _, part := range []string{"PUT", bucket, name, opt.ContentType, opt.IfMatch, strconv.FormatBool(opt.IfAbsent)} {
		f.Add([]byte(part))
	}
	for _, k := range slices.Sorted(maps.Keys(opt.Meta)) {
		f.Add([]byte(k))
		f.Add([]byte(opt.Meta[k]))
	}
	return c.once(key, func(req *effect.Request, known bool) error {
		ctx, body, done := c.uploading()
		defer done()
		sum := ""
		if known {
			// The key has an outcome: only what the body is counts.
			h := sha256.New()
			if _, err := io.Copy(h, body); err != nil {
				return fmt.Errorf("admin: read the body: %w", err)
			}
			sum = hex.EncodeToString(h.Sum(nil))
		} else {
			prepared, err := p.PreparePut(ctx, bucket, name, body, opt)
			if err != nil {
				return uploadError(ctx, bucket, name, err)
			}
			req.Input, sum = encodeObject(prepared), prepared.Info.SHA256
		}
		f.Add([]byte(sum))
		req.Fingerprint = f.Sum()
		return nil
	})
}

// deleteOnce is a delete with an Idempotency-Key.
func (c *call) deleteOnce(bucket, name, key string) error {
	p, ok := c.s.deps.Store.(Preparer)
	if !ok || c.s.deps.Effects == nil {
		return errNoOnce
	}
	ifMatch := string(c.Request.Header.Peek("If-Match"))
	var f effect.Fingerprint
	for _, part := range []string{"DELETE", bucket, name, ifMatch} {
		f.Add([]byte(part))
	}
	return c.once(key, func(req *effect.Request, _ bool) error {
		prepared, err := p.PrepareDelete(bucket, name, ifMatch)
		if err != nil {
			return err
		}
		req.Input, req.Fingerprint = encodeObject(prepared), f.Sum()
		return nil
	})
}

// once carries out a write and sends its answer, or the recorded one.
func (c *call) once(key string, prepare func(req *effect.Request, known bool) error) error {
	req := &effect.Request{
		Scope: KeyScope, Key: key, Client: effect.Client(c.RequestCtx), Method: c.method,
		Host: string(c.Host()), Path: string(c.RequestURI()),
	}
	e := ObjectEffect{}
	o, err := c.s.deps.Effects.Do(c.s.base, e, req, func(_ context.Context, known bool) error { return prepare(req, known) })
	if err != nil {
		return err
	}
	r, err := e.Answer(o.Note, o.Result)
	if err != nil {
		return err
	}
	r.Send(c.RequestCtx, o.Replayed)
	return nil
}
