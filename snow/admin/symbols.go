package admin

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"rain/store"
)

// Symbols gives clients what they decode by themselves. *store.Store is one.
type Symbols interface {
	Plan(bucket, key string) (store.Plan, error)
	// SymbolFile opens a symbol file of this node; package symbol has its format.
	SymbolFile(body string, part, column int) (f *os.File, size int64, err error)
}

// PlanAnswer says how an object is cut and where its columns lie. A small object
// lies whole on every node: it has no columns.
type PlanAnswer struct {
	API int `json:"api"`
	store.Info
	Body    string   `json:"body,omitempty"`       // names the symbols
	Unit    int      `json:"unit_bytes,omitempty"` // the stripe unit
	Columns []Column `json:"columns"`
}

// Column is where a column of an object should be.
type Column struct {
	Column int    `json:"column"`
	Node   string `json:"node"`
	Admin  string `json:"admin,omitempty"` // URL of its admin address, if known
}

// plan answers a GET of an object with ?plan.
func (c *call) plan(bucket, key string) error {
	if c.s.deps.Symbols == nil {
		return noSuchPath(string(c.Path()))
	}
	p, err := c.s.deps.Symbols.Plan(bucket, key)
	if err != nil {
		return err
	}
	a := PlanAnswer{API: API, Info: p.Info, Body: p.Body, Unit: p.Unit, Columns: []Column{}}
	if len(p.Nodes) > 0 {
		known := map[string]Member{}
		for _, m := range c.s.deps.Status.Status().Members {
			known[m.ID] = m
		}
		for i, id := range p.Nodes {
			col := Column{Column: i, Node: id.String()}
			if m, ok := known[id.String()]; ok {
				col.Node, col.Admin = m.Name, m.Admin
			}
			a.Columns = append(a.Columns, col)
		}
	}
	sendJSON(c.RequestCtx, 200, a)
	return nil
}

// symbols answers GET /api/v1/symbols/BODY/PART/COLUMN with this node's symbol
// file, or a range of it, as it lies on the disk: units with their checksums,
// then the trailer.
func (c *call) symbols() error {
	if c.s.deps.Symbols == nil || len(c.path) != 4 {
		return noSuchPath(string(c.Path()))
	}
	if err := c.allow("GET"); err != nil {
		return err
	}
	var at [2]int
	for i := range at {
		n, err := strconv.ParseUint(c.path[2+i], 10, 24)
		if err != nil {
			return fail(422, "bad_input", fmt.Sprintf("%.40q is no number of a part or column", c.path[2+i]), "")
		}
		at[i] = int(n)
	}
	f, size, err := c.s.deps.Symbols.SymbolFile(c.path[1], at[0], at[1])
	if err != nil {
		return err
	}
	off, n, status := int64(0), size, 200
	if rg := string(c.Request.Header.Peek("Range")); rg != "" {
		off, n, status = parseRange(rg, size)
	}
	h := &c.Response.Header
	h.Set("Accept-Ranges", "bytes")
	switch status {
	case 416:
		_ = f.Close() // nothing was written to it
		h.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		return fail(416, "bad_range", fmt.Sprintf("the symbol file has %d bytes", size), "")
	case 206:
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", off, off+n-1, size))
	}
	c.SetStatusCode(status)
	c.SetContentType("application/octet-stream")
	if c.method == "HEAD" {
		_ = f.Close() // nothing was written to it
		c.Response.SkipBody = true
		h.SetContentLength(int(n))
		return nil
	}
	c.SetBodyStream(&objectReader{io.NewSectionReader(f, off, n), f}, int(n))
	return nil
}
