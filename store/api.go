package store

import (
	"errors"
	"io"
	"os"
	"time"
)

// Info describes one version of an object.
type Info struct {
	Bucket      string            `json:"bucket"`
	Key         string            `json:"key"`
	Version     uint64            `json:"version"` // index of the op that made it; rises with each put of the key
	ETag        string            `json:"etag"`    // strong, with its quotes; equal content and type give equal tags
	SHA256      string            `json:"sha256"`  // hex, of the whole body
	Size        int64             `json:"size_bytes"`
	ContentType string            `json:"content_type,omitempty"`
	Modified    time.Time         `json:"modified"` // set by the node that took the put, whole seconds, UTC
	Meta        map[string]string `json:"meta,omitempty"`
	N           int               `json:"n"` // columns of the code: nodes that should hold one
	K           int               `json:"k"` // how many of them give it back
	Stored      int               `json:"stored"`
	Survives    int               `json:"survives"` // nodes that may be lost with the object whole
}

// PutOptions say under which condition a put happens and what rides with it.
type PutOptions struct {
	ContentType string
	Meta        map[string]string // at most 32 entries, 2 KiB in all
	IfMatch     string            // put only if the key has this ETag ("*": any)
	IfAbsent    bool              // put only if the key is not there
	Size        int64             // 0 or less: not known beforehand; else the body must have it
	SHA256      string            // hex, if known beforehand: the body must match, and is sent only to members that lack it
}

// Object is an open version of an object. It stays readable until Close, also
// when the key is replaced or deleted meanwhile, while this node is in the view.
type Object struct {
	Info
	Body BodyReader
}

// BodyReader reads a body. ReadAt may be called by many at once.
type BodyReader interface {
	io.ReaderAt
	io.Closer
	// Bytes is the body, if it is in memory; else nil.
	Bytes() []byte
	// File is the body as a file of its own, from offset 0, for sendfile; nil
	// if there is none. It belongs to the BodyReader.
	File() *os.File
}

// Errors of the store. They come wrapped with bucket, key and reason.
var (
	ErrNotFound     = errors.New("no such object")
	ErrNoBucket     = errors.New("no such bucket; make it with 'rainctl bucket create'")
	ErrPrecondition = errors.New("the object is not as the request requires")
	ErrUnavailable  = errors.New("not available now; try again later")
	ErrNoSpace      = errors.New("no space left for content on this node")
	ErrBadName      = errors.New("bad bucket or key")
	ErrBadMeta      = errors.New("bad content type, metadata or condition")
	ErrTooLarge     = errors.New("body too large")
	ErrBadBody      = errors.New("the body is not what was announced")
)
