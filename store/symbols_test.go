package store

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"rain/store/array"
	"rain/store/symbol"
)

// Who knows the plan decodes an object from any k symbol files.
func TestSymbolFiles(t *testing.T) {
	c := newCluster(t, 4)
	nodes := c.all()
	mustBucket(t, nodes[0], "bucket")
	body := randomBody(7, 1<<20+4321)
	mustPut(t, nodes[0], "large", body, PutOptions{})
	p, err := nodes[3].s.Plan("bucket", "large")
	if err != nil || p.N != 4 || p.K != 2 || len(p.Nodes) != 4 || p.Size != int64(len(body)) || len(p.Body) != 64 {
		t.Fatalf("plan: %+v, %v", p, err)
	}
	l := array.Layout{Geometry: array.Geometry{N: p.N, K: p.K, Unit: p.Unit}, Size: p.Size}
	code, err := array.New(p.N, p.K)
	if err != nil {
		t.Fatal(err)
	}
	columns := make([][][]byte, 4) // by column, the units of all blocks
	for _, column := range []int{1, 3} {
		for _, n := range nodes {
			f, size, err := n.s.SymbolFile(p.Body, 0, column)
			if n.id != p.Nodes[column] {
				if !errors.Is(err, ErrNotFound) {
					t.Errorf("node %s has column %d, too: %v", n.id, column, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			raw, err := io.ReadAll(f)
			if err = errors.Join(err, f.Close()); err != nil || int64(len(raw)) != size || size != symbol.FileLen(l, 0) {
				t.Fatalf("%d of %d bytes: %v", len(raw), size, err)
			}
			columns[column] = make([][]byte, l.Blocks())
			if good := symbol.Units(columns[column], raw, l, column, 0); good != int(l.Blocks()) {
				t.Fatalf("%d of %d units are good", good, l.Blocks())
			}
		}
	}
	var got []byte
	for b := range l.Blocks() {
		units := [][]byte{nil, columns[1][b], nil, columns[3][b]}
		if err := code.Rebuild(units, []bool{true, true, false, false}); err != nil {
			t.Fatal(err)
		}
		got = append(got, append(bytes.Clone(units[0]), units[1]...)[:l.BlockLen(b)]...)
	}
	if !bytes.Equal(got, body) {
		t.Error("columns 1 and 3 give other bytes")
	}
}

// What is no symbol is not taken for a damaged one: a copy would be thrown away.
func TestSymbolFileOfOthers(t *testing.T) {
	c := newCluster(t, 1)
	n := c.all()[0]
	mustBucket(t, n, "bucket")
	info := mustPut(t, n, "small", []byte("small"), PutOptions{})
	p, err := n.s.Plan("bucket", "small")
	if err != nil || p.Body != "" || p.Nodes != nil {
		t.Fatalf("plan of a small object: %+v, %v", p, err)
	}
	raw := n.s.table.Now().Get("bucket", "small").Sum
	_, part := partOf(raw)
	for _, ask := range []struct {
		body string
		part int
	}{{info.SHA256, part}, {info.SHA256, part % maxParts}, {"zz", 0}, {"", 0}, {info.SHA256 + "00", 0}, {info.SHA256, -1}} {
		if _, _, err := n.s.SymbolFile(ask.body, ask.part, 0); !errors.Is(err, ErrNotFound) {
			t.Errorf("%+v: %v", ask, err)
		}
	}
	if got := readAll(t, n, "small"); string(got) != "small" || n.s.Missing() != 0 {
		t.Errorf("the small body suffered: %q, %d missing", got, n.s.Missing())
	}
	if _, err := n.s.Plan("bucket", "none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("plan of nothing: %v", err)
	}
}
